//! What a file holds, and what of it would survive.

use std::collections::BTreeSet;

pub(super) const PAGE: usize = 4096;

#[derive(Default)]
pub(super) struct Contents {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Pages in which the two differ.
    dirty: BTreeSet<usize>,
}

impl Contents {
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn read(&self, offset: usize, size: usize) -> &[u8] {
        let end = offset.saturating_add(size).min(self.live.len());
        self.live.get(offset..end).unwrap_or_default()
    }

    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if end > self.live.len() {
            self.resize(end);
        }
        self.live[offset..end].copy_from_slice(data);
        self.mark(offset, end);
    }

    pub(super) fn resize(&mut self, len: usize) {
        let (from, to) = (self.live.len().min(len), self.live.len().max(len));
        self.live.resize(len, 0);
        self.mark(from, to);
    }

    fn mark(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / PAGE..to.div_ceil(PAGE));
    }

    pub(super) fn sync(&mut self) {
        self.keep(|| true);
    }

    /// Keeps of each dirty page the live or the durable version. Returns how many were dirty.
    pub(super) fn keep(&mut self, mut live_survives: impl FnMut() -> bool) -> usize {
        let dirty = std::mem::take(&mut self.dirty);
        let survives: Vec<_> = dirty.iter().copied().filter(|_| live_survives()).collect();
        let all = survives.len() == dirty.len();
        // A length survives whole, or as far as pages beyond the durable end do.
        let reach = survives.last().map_or(0, |last| (last + 1) * PAGE).min(self.live.len());
        let len = if all { self.live.len() } else { self.durable.len().max(reach) };
        self.durable.resize(len, 0);
        for page in survives {
            let (from, to) = (page * PAGE, ((page + 1) * PAGE).min(len).min(self.live.len()));
            if from < to {
                self.durable[from..to].copy_from_slice(&self.live[from..to]);
            }
        }
        self.live.resize(len, 0);
        for page in &dirty {
            let (from, to) = (page * PAGE, ((page + 1) * PAGE).min(len));
            if from < to {
                self.live[from..to].copy_from_slice(&self.durable[from..to]);
            }
        }
        dirty.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_synced_is_lost_and_nothing_else() {
        let mut file = Contents::default();
        file.write(0, &[1; 3 * PAGE]);
        file.sync();
        file.write(PAGE, &[2; PAGE]);
        file.write(3 * PAGE, &[3; 10]);
        assert_eq!(file.keep(|| false), 2);
        assert_eq!(file.read(0, usize::MAX), [1; 3 * PAGE]);
        file.resize(5);
        file.resize(PAGE);
        assert_eq!(file.read(4, 3), [1, 0, 0]);
        file.keep(|| false);
        assert_eq!(file.read(0, usize::MAX), [1; 3 * PAGE]);
    }

    #[test]
    fn a_page_may_survive_without_those_before_it() {
        let mut file = Contents::default();
        file.write(0, &[1; 2 * PAGE]);
        let mut survives = [false, true].into_iter();
        file.keep(|| survives.next().unwrap());
        assert_eq!(file.read(PAGE - 1, 2), [0, 1]);
        assert_eq!(file.len(), 2 * PAGE);
    }
}
