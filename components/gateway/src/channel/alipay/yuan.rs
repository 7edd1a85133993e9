//! Amounts as Alipay writes them: yuan with a point and the minor units after it.

/// One cent to a hundred million yuan (opendocs.alipay.com, alipay.trade.precreate, `total_amount`).
pub(super) const RANGE: std::ops::RangeInclusive<i64> = 1..=10_000_000_000;

pub(super) fn text(minor: i64) -> String {
    format!("{}.{:02}", minor.div_euclid(100), minor.rem_euclid(100))
}

/// Minor units. Exact: no sign, no exponent, no superfluous zero in front, no more than
/// two digits after the point. What is written otherwise is no amount of this network.
pub(super) fn minor(text: &str) -> Option<i64> {
    let (yuan, fen) = text.split_once('.').unwrap_or((text, "00"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let superfluous = yuan.len() > 1 && yuan.starts_with('0');
    if !digits(yuan) || !digits(fen) || superfluous {
        return None;
    }
    let scale = match fen.len() {
        1 => 10,
        2 => 1,
        _ => return None,
    };
    let fen = fen.parse::<i64>().ok()?.checked_mul(scale)?;
    yuan.parse::<i64>().ok()?.checked_mul(100)?.checked_add(fen)
}
