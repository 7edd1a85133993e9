//! When what UnionPay says of an order or a refund is its end.

use jiff::{SignedDuration, Timestamp};

use super::codes::State;
use super::message::Looked;
use crate::channel::connection::Connection;
use crate::channel::{Found, Kind, Outcome, Sent};

/// How far clocks may differ, and how long something may be under way inside of UnionPay,
/// once an order's `payTimeout` has passed.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);
/// A request whose `txnTime` is not "the current time" is refused (ACPSample: 必须取当前时间,
/// 否则会报txnTime无效). How far from it, the documents do not say: a day is on the safe side.
const REFUND_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// From here on what UnionPay says is final: an order cannot be paid after its `payTimeout`,
/// and a request that comes later than its time is refused.
pub(super) fn closed_at(sent: &Sent) -> Timestamp {
    let end = match sent.kind {
        Kind::Payment { expires_at } => Ok(expires_at.max(sent.signed_at)),
        Kind::Refund { .. } => sent.signed_at.saturating_add(REFUND_WINDOW),
        Kind::Payout => return Timestamp::MAX,
    };
    let margin = MARGIN.saturating_add(Connection::answer_max());
    end.and_then(|end| end.saturating_add(margin)).unwrap_or(Timestamp::MAX)
}

/// Until an order's `payTimeout` has passed, "failed", "in progress" and "not found" may each
/// be states on the way; a query after it tells the end (ACPSample, Form_6_2: 失败,处理中,
/// 查询不到订单均可能为中间状态; 过了payTimeout查询,得到的结果为最终结果). So a payer whose
/// first card is refused may pay with a second one, and is not told that the order failed.
pub(super) fn found(sent: &Sent, at: Timestamp, looked: Looked) -> Found {
    Found::Outcome(match looked {
        // A code that was shown and that nobody scanned: its time has run out.
        Looked::NotFound if matches!(sent.kind, Kind::Payment { .. }) && !is_payable(sent, at) => {
            Outcome::Closed
        }
        Looked::NotFound => return Found::NotFound { at },
        Looked::Nothing(why) => Outcome::Unknown { why },
        Looked::Said(_, Outcome::Declined { network_id, .. }) if is_payable(sent, at) => {
            Outcome::Processing { network_id, action: None }
        }
        Looked::Said(_, outcome) => outcome,
    })
}

/// UnionPay cannot be asked to close an order: it ends by its `payTimeout`. After that one
/// that is not paid can be judged as failed (ACPSample, payTimeout: 超过超时时间调查询接口应答
/// origRespCode不是A6或者00的就可以判断为失败). What is under way inside of UnionPay even then
/// is left to a person and the bill.
pub(super) fn closed(sent: &Sent, at: Timestamp, looked: Looked) -> Outcome {
    let (is_payment, why) =
        (matches!(sent.kind, Kind::Payment { .. }), "UnionPay closes no order before its time");
    match looked {
        Looked::Said(State::Waiting, _) | Looked::NotFound if is_payment && !is_payable(sent, at) => {
            Outcome::Closed
        }
        looked => match found(sent, at, looked) {
            Found::Outcome(Outcome::Processing { .. }) | Found::NotFound { .. } => {
                Outcome::Unknown { why: why.to_owned() }
            }
            Found::Outcome(outcome) => outcome,
        },
    }
}

pub(super) fn is_payable(sent: &Sent, at: Timestamp) -> bool {
    matches!(sent.kind, Kind::Payment { .. }) && at <= closed_at(sent)
}
