//! The config's epoch: it rises with every change of content, and never falls
//! below what the ledger already demands, or no payment could be booked.

use payplane_crds::tenant::ConfigStatus;

/// The config's text and its epoch. `live` is what the Secret holds, `told` what
/// the status says was rendered last, `least` what the ledger demands: the
/// Secret may have been deleted, and the books may be older than the tenant.
pub fn next(
    live: Option<(String, u64)>,
    told: Option<&ConfigStatus>,
    least: u64,
    render: impl Fn(u64) -> String,
) -> (String, u64) {
    if let Some((text, epoch)) = live.as_ref().filter(|(_, epoch)| *epoch >= least)
        && render(*epoch) == *text
    {
        return (text.clone(), *epoch);
    }
    if let Some(told) = told.filter(|told| told.epoch >= least && live.is_none()) {
        let text = render(told.epoch);
        if payplane_api::config::hash(text.as_bytes()) == told.hash {
            return (text, told.epoch);
        }
    }
    let highest = live.map_or(0, |(_, epoch)| epoch).max(told.map_or(0, |told| told.epoch)).max(least);
    let epoch = highest.saturating_add(1);
    (render(epoch), epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(content: &'static str) -> impl Fn(u64) -> String {
        move |epoch| format!("{epoch} {content}")
    }

    fn told(text: &str, epoch: u64) -> ConfigStatus {
        ConfigStatus { epoch, hash: payplane_api::config::hash(text.as_bytes()) }
    }

    #[test]
    fn it_rises_only_with_other_content() {
        assert_eq!(next(None, None, 0, render("a")), ("1 a".to_owned(), 1));
        let live = || Some(("4 a".to_owned(), 4));
        assert_eq!(next(live(), Some(&told("4 a", 4)), 4, render("a")).1, 4);
        assert_eq!(next(live(), Some(&told("4 a", 4)), 4, render("b")).1, 5);
    }

    #[test]
    fn a_deleted_config_comes_back_as_it_was() {
        assert_eq!(next(None, Some(&told("4 a", 4)), 4, render("a")), ("4 a".to_owned(), 4));
        assert_eq!(next(None, Some(&told("4 a", 4)), 4, render("b")).1, 5);
    }

    #[test]
    fn older_books_demand_a_higher_one() {
        assert_eq!(next(Some(("1 a".to_owned(), 1)), Some(&told("1 a", 1)), 9, render("a")).1, 10);
        assert_eq!(next(None, None, 9, render("a")).1, 10);
    }
}
