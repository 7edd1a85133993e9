//! How many things are held, in all and of each app.

use std::collections::HashMap;

#[derive(Debug, Default)]
pub(crate) struct Counts {
    all: usize,
    apps: HashMap<String, usize>,
}

impl Counts {
    /// One more of an app; false where there are so many of all or of the app.
    pub(crate) fn take(&mut self, app: &str, most: (usize, usize)) -> bool {
        if !self.has_room(app, most) {
            return false;
        }
        self.all = self.all.saturating_add(1);
        let of_app = self.apps.entry(app.to_owned()).or_default();
        *of_app = of_app.saturating_add(1);
        true
    }

    pub(crate) fn has_room(&self, app: &str, (all_max, app_max): (usize, usize)) -> bool {
        self.all < all_max && self.apps.get(app).is_none_or(|of_app| *of_app < app_max)
    }

    /// One less.
    pub(crate) fn give_back(&mut self, app: &str) {
        self.all = self.all.saturating_sub(1);
        let left = self.apps.get(app).copied().unwrap_or_default().saturating_sub(1);
        if left == 0 {
            self.apps.remove(app);
        } else if let Some(count) = self.apps.get_mut(app) {
            *count = left;
        }
    }

    #[must_use]
    pub(crate) fn all(&self) -> usize {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_leaves_the_others_room_and_nothing_is_kept_of_who_has_none() {
        let (mut counts, most) = (Counts::default(), (3, 2));
        assert!(counts.take("a", most) && counts.take("a", most));
        assert!(!counts.take("a", most), "it has its share");
        assert!(counts.take("b", most), "another app's are its own");
        assert!(!counts.take("c", most), "all are as many as may be");
        counts.give_back("a");
        assert!(counts.take("c", most));
        ["a", "b", "c"].iter().for_each(|app| counts.give_back(app));
        assert!(counts.all() == 0 && counts.apps.is_empty());
    }
}
