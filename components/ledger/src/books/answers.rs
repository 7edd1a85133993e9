//! What the database answered, and what it is asked with.

use jiff::civil::Date;
use uuid::Uuid;

use crate::place::Place;

/// What `ledger.post` answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub outcome: String,
    pub transaction_id: Option<Uuid>,
    pub accounting_date: Option<Date>,
    pub reason: Option<String>,
    pub subject: Option<String>,
    pub message: Option<String>,
    pub config_epoch_min: Option<i64>,
    pub place: Place,
}

/// Reason, subject, message.
pub type Refused = (String, String, String);

/// What `ledger.open_accounts` answered: how many, or why none.
#[derive(Clone, Debug)]
pub struct Opened {
    pub opened: i32,
    pub refusal: Option<Refused>,
}

/// What `ledger.close_day` answered: the last day of each state, or why none was moved on.
#[derive(Clone, Debug)]
pub struct Closing {
    pub closing_through: Option<Date>,
    pub closed_through: Option<Date>,
    pub refusal: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct AccountColumns {
    pub codes: Vec<String>,
    pub currencies: Vec<String>,
    pub sides: Vec<&'static str>,
    pub floors: Vec<bool>,
    /// JSON objects of texts.
    pub metadata: Vec<String>,
}
