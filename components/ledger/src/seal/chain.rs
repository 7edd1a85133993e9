//! The chain's rule, for whoever verifies it; the database follows the same one
//! (`components/migrate/sql/V10__ledger_chain.sql`).

use aws_lc_rs::digest::{Context, SHA256};

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
