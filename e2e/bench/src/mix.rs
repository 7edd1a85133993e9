//! What is asked for: transfers of one kind or another.

use payplane_api::ledger::v1::{AccountSpec, Direction, Entry, Identity, PostRequest, Reference};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mix {
    /// Sales of merchants evenly drawn.
    Spread,
    /// The same with a third entry on one account for fees.
    HotFee,
    /// One merchant: half sales, half payouts, its balance near the floor.
    HotMerchant,
    /// Half sales, a quarter holds, a quarter captures of the whole of a hold.
    Holds,
}

pub(crate) const CHANNEL: &str = "channel:c1:receivable";
const FEE: &str = "income:fee";
pub(crate) const CURRENCY: &str = "CNY";

impl Mix {
    pub(crate) const ALL: [Self; 4] = [Self::Spread, Self::HotFee, Self::HotMerchant, Self::Holds];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::HotFee => "hot_fee",
            Self::HotMerchant => "hot_merchant",
            Self::Holds => "holds",
        }
    }

    /// `held`: holds that were booked, and are to be captured.
    pub(crate) fn request(self, accounts: usize, today: &str, held: &mut Vec<PostRequest>) -> PostRequest {
        let (dice, more) = Uuid::new_v4().as_u64_pair();
        let dice = usize::try_from(dice % 1_000_000_007).unwrap_or(0);
        let merchant = merchant(if self == Self::HotMerchant { 0 } else { (dice / 4) % accounts });
        let amount = i64::try_from(100 + more % 900).unwrap_or(100);
        let captured = held.pop_if(|_| self == Self::Holds && dice % 4 == 3);
        let original = captured.as_ref().and_then(|hold| hold.identity.clone());
        let (kind, entries) = match (self, captured) {
            (_, Some(hold)) => {
                let amount = hold.entries.first().map_or(1, |entry| entry.amount_minor);
                ("capture", [hold.entries, vec![credit(CHANNEL, amount)]].concat())
            }
            // Small, so that a merchant has as much.
            (Self::Holds, _) if dice % 4 == 2 => ("hold", vec![debit(&merchant, 1 + amount / 20)]),
            // Payouts ask for a fifth more than sales bring: as many as that are refused.
            (Self::HotMerchant, _) if dice % 2 == 1 => {
                let amount = amount.saturating_add(amount / 5);
                ("payout", vec![debit(&merchant, amount), credit(CHANNEL, amount)])
            }
            (Self::HotFee, _) => {
                let fee = (amount / 100).max(1);
                let net = amount.saturating_sub(fee);
                ("sale", vec![debit(CHANNEL, amount), credit(&merchant, net), credit(FEE, fee)])
            }
            _ => ("sale", vec![debit(CHANNEL, amount), credit(&merchant, amount)]),
        };
        PostRequest {
            identity: Some(Identity { key_date: today.to_owned(), key: Uuid::new_v4().to_string() }),
            kind: kind.to_owned(),
            entries,
            references: ["order", "network"].map(reference).to_vec(),
            original,
            effective_time: "2024-01-15T04:00:00Z".to_owned(),
            config_epoch: 1,
            ..PostRequest::default()
        }
    }
}

pub(crate) fn merchant(n: usize) -> String {
    format!("merchant:m{n}:pending")
}

fn reference(name: &str) -> Reference {
    Reference { r#type: name.to_owned(), value: Uuid::new_v4().simple().to_string() }
}

fn debit(account: &str, amount_minor: i64) -> Entry {
    entry(account, Direction::Debit, amount_minor)
}

fn credit(account: &str, amount_minor: i64) -> Entry {
    entry(account, Direction::Credit, amount_minor)
}

fn entry(account: &str, direction: Direction, amount_minor: i64) -> Entry {
    Entry { account: account.into(), direction: direction.into(), amount_minor, currency: CURRENCY.into() }
}

/// The accounts of every mix.
pub(crate) fn accounts(merchants: usize) -> Vec<AccountSpec> {
    let spec = |code: String, side: Direction, has_floor| AccountSpec {
        code,
        currency: CURRENCY.into(),
        normal_side: side.into(),
        has_floor,
        ..AccountSpec::default()
    };
    let mut accounts =
        vec![spec(CHANNEL.into(), Direction::Debit, false), spec(FEE.into(), Direction::Credit, false)];
    accounts.extend((0..merchants).map(|n| spec(merchant(n), Direction::Credit, true)));
    accounts
}
