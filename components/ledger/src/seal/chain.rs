//! The chain's rule.

use aws_lc_rs::digest::{Context, SHA256};

/// What the batches at a range of positions hold: a position and the SHA-256 of
/// its records, as rows.
pub const CONTENT: &str = include_str!("content.sql");

/// Before the first one.
const NOTHING: [u8; 32] = [0; 32];

/// The hash at a position: of the one before it and of the batch's content.
#[must_use]
pub fn link(before: Option<&[u8]>, content: &[u8]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(before.unwrap_or(&NOTHING));
    context.update(content);
    context.finish().as_ref().to_vec()
}

/// The hashes at the positions `first` to `last`, or the position that has no content.
pub fn continued(
    before: Option<&[u8]>,
    first: i64,
    last: i64,
    contents: &[(i64, Vec<u8>)],
) -> Result<Vec<Vec<u8>>, i64> {
    let mut hashes: Vec<Vec<u8>> = Vec::with_capacity(contents.len());
    for position in first..=last {
        match contents.get(hashes.len()) {
            Some((at, content)) if *at == position => {
                hashes.push(link(hashes.last().map(Vec::as_slice).or(before), content));
            }
            _ => return Err(position),
        }
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_all_before_it() {
        let contents = |last: u8| vec![(1, vec![1; 32]), (2, vec![2; 32]), (3, vec![last; 32])];
        let three = continued(None, 1, 3, &contents(3)).unwrap();
        assert_eq!(three[0], link(Some(&[0; 32]), &[1; 32]));
        assert_eq!(continued(Some(&three[0]), 2, 3, &contents(3)[1..]).unwrap(), three[1..]);
        assert_ne!(continued(None, 1, 3, &contents(4)).unwrap()[2], three[2]);
        assert_ne!(continued(Some(&[9; 32]), 2, 3, &contents(3)[1..]).unwrap(), three[1..]);
        assert_eq!(continued(None, 1, 3, &contents(3)[..2]), Err(3));
        assert_eq!(continued(None, 1, 3, &[contents(3)[0].clone(), contents(3)[2].clone()]), Err(2));
    }
}
