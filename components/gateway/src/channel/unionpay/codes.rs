//! UnionPay's answer codes, one by one
//! (平台接入接口规范-第5部分-附录, 应答码; 01-09 are the platform's own errors, 10-29 those of
//! a message's form, 30-59 of the merchant's business, 60-89 of the payer and the issuer).

/// What a code says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The request was not taken: it has had no effect and never will.
    NotTaken,
    /// It was taken and refused for good.
    Declined,
    /// It may have had an effect: a query tells.
    Unknown,
}

/// What a code says of the payment or refund that was asked for (`origRespCode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Succeeded,
    /// Accepted, and waiting for the payer.
    Waiting,
    /// Under way somewhere.
    UnderWay,
    Failed,
    Unknown,
}

/// Message form (10), signature (11) or fields (13) wrong; the merchant's state (31),
/// rights (32, 43) or licence (92-96) do not allow it.
const NOT_TAKEN: &[&str] = &["10", "11", "13", "31", "32", "43", "92", "93", "94", "95", "96"];

/// The platform is closed (02) or busy (06). An order that was refused so cannot be paid,
/// since what its payer needs, the QR code or the `tn`, is in no answer.
const CLOSED_OR_BUSY: &[&str] = &["02", "06"];

/// Refused for the business that it is: not passed (30), amount (33), UnionPay's risk rules
/// (38), not at this time (39), binding (40), number or service not open (44).
const BUSINESS: &[&str] = &["30", "33", "38", "39", "40", "44"];

/// The original of a refund: not found (34), in a wrong state (35), another one (36), or
/// refunded in whole already (45).
const ORIGINAL: &[&str] = &["34", "35", "36", "45"];

/// The payer's card, account, password, token or code, or the issuer's rules.
const PAYER: &[&str] = &[
    "60", "61", "62", "63", "64", "65", "66", "67", "68", "69", "71", "72", "73", "76", "77", "78", "79",
    "80", "81", "82", "85", "86", "87", "88", "89", "90", "91",
];

/// The one-time code is not the one that was sent.
pub(super) const WRONG_CODE: &str = "71";

/// The card is not open: by this order (34), or not any more (77).
pub(super) const NOT_OPENED: &[&str] = &["34", "77"];

/// A payment's token is none (77) or none any more (80): its card was closed elsewhere.
pub(super) const TOKEN_ENDED: &[&str] = &["77", "80"];

// In none of the lists, so Unknown wherever they come: 12 (the number was known before), 37
// (asked too often), 42 (the money was taken, too late; UnionPay gives it back), 74 and 75
// (the money was taken), 14, 41 and 98 (of files), 99 (any error), and all that is new.

/// A verified answer that is not 00 to an order that its payer has to pay.
pub(super) fn of_payment_request(code: &str) -> Refused {
    match code {
        code if NOT_TAKEN.contains(&code) || CLOSED_OR_BUSY.contains(&code) => Refused::NotTaken,
        "01" => Refused::Declined,
        code if BUSINESS.contains(&code) || PAYER.contains(&code) => Refused::Declined,
        _ => Refused::Unknown,
    }
}

/// A verified answer that is not 00 to what takes effect at once: a card is debited or opened, money
/// goes back. An error of the platform (01, 02, 06) is none of that until a query says so.
pub(super) fn of_direct_request(code: &str) -> Refused {
    match code {
        code if NOT_TAKEN.contains(&code) => Refused::NotTaken,
        code if BUSINESS.contains(&code) || PAYER.contains(&code) => Refused::Declined,
        _ => Refused::Unknown,
    }
}

/// Such an answer to a refund.
pub(super) fn of_refund_request(code: &str) -> Refused {
    if ORIGINAL.contains(&code) { Refused::Declined } else { of_direct_request(code) }
}

/// What was asked for, in a query's answer or a notification. A6 is a success with a defect
/// that is settled between UnionPay and the issuer.
pub(super) fn of_original(code: &str, is_refund: bool) -> State {
    match code {
        "00" | "A6" => State::Succeeded,
        // Accepted; led to the payer's input.
        "05" | "70" => State::Waiting,
        // No answer from the issuer; not clear, see the bill; the issuer works on it.
        "03" | "04" | "83" => State::UnderWay,
        "01" | "02" => State::Failed,
        // Reversed: the issuer gave it back, so it was not taken.
        "46" if !is_refund => State::Failed,
        code if ORIGINAL.contains(&code) && is_refund => State::Failed,
        code if NOT_TAKEN.contains(&code) || BUSINESS.contains(&code) || PAYER.contains(&code) => {
            State::Failed
        }
        _ => State::Unknown,
    }
}
