//! Agreements about cards: UnionPay's tokens (产品: 无跳转token, 商户侧开通; ACPSample `api_03_token`).
//! A card is opened by the one-time code that UnionPay sends, and a token paid by from then on.

use jiff::{SignedDuration, Timestamp};

use super::codes::{self, Refused};
use super::encrypt::{Encryption, is_one_field};
use super::fields::Fields;
use super::message;
use super::request::{Merchant, TOKEN};
use crate::channel::agreement::{Owner, Standing, WrongCode, unknown};
use crate::channel::{PrepareError, storable};

/// How long a code is sent on. UnionPay takes none for so long.
const CODE_MAX: SignedDuration = SignedDuration::from_mins(10);
/// And how long after that one may be under way inside of UnionPay, by whichever clock.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);
const TOKEN_MAX: usize = 128;
const BIZ_TYPE: &str = TOKEN.biz_type;

/// As whom a merchant asks for tokens.
pub(super) struct Tokens {
    /// `trId`
    pub requestor: String,
    pub encryption: Encryption,
}

impl Tokens {
    pub(super) fn named(&self, token: &str) -> String {
        format!("{{trId={}&token={token}}}", self.requestor)
    }
}

/// May a code still be sent?
pub(super) fn takes_code(signed_at: Timestamp) -> bool {
    Timestamp::now().duration_since(signed_at) <= CODE_MAX
}

/// From here on no code that was sent is on its way.
pub(super) fn closed_at(signed_at: Timestamp) -> Timestamp {
    signed_at.saturating_add(CODE_MAX.saturating_add(MARGIN)).unwrap_or(Timestamp::MAX)
}

impl Merchant {
    pub(super) fn tokens(&self) -> Result<&Tokens, PrepareError> {
        self.tokens.as_ref().ok_or_else(|| PrepareError { why: "the merchant has no tokens".to_owned() })
    }

    /// Whose card it is, as UnionPay reads it: the same for the code and for opening, which name
    /// the same order.
    fn about_card(
        &self,
        sub_type: (&'static str, &'static str),
        (number, at): (&str, Timestamp),
        (owner, code): (&Owner, Option<&str>),
    ) -> Result<String, PrepareError> {
        let tokens = self.tokens()?;
        let failed = |why: &str| PrepareError { why: why.to_owned() };
        let phone = owner.phone.as_deref().ok_or_else(|| failed("phoneNumber is missing"))?;
        let account = tokens.encryption.encrypt(&owner.account);
        let account = account.ok_or_else(|| failed("accountNumber is longer than UnionPay reads"))?;
        // Before there is a code, too: no code could open it.
        if !is_one_field(&owner.name) {
            return Err(failed("accountName has one of & = { } [ ]"));
        }
        let beside = code.iter().flat_map(|code| [("customerNm", owner.name.as_str()), ("smsCode", *code)]);
        let customer = tokens.encryption.customer(phone, &beside.collect::<Vec<_>>());
        let customer = customer.ok_or_else(|| failed("phoneNumber or code cannot be sent"))?;
        self.sign(
            (sub_type.0, sub_type.1, BIZ_TYPE, number, at),
            [
                ("channelType", "07".into()),
                ("encryptCertId", tokens.encryption.certificate_id.as_str().into()),
                ("accNo", account.into()),
                ("customerInfo", customer.into()),
                ("tokenPayData", format!("{{trId={}&tokenType=01}}", tokens.requestor).into()),
            ],
        )
    }

    /// 开通短信: UnionPay sends the owner a one-time code.
    pub(super) fn send_code(
        &self,
        number: &str,
        owner: &Owner,
        at: Timestamp,
    ) -> Result<String, PrepareError> {
        self.about_card(("77", "00"), (number, at), (owner, None))
    }

    /// 商户侧开通, with the code.
    pub(super) fn open(
        &self,
        about: (&str, Timestamp),
        owner: &Owner,
        code: &str,
    ) -> Result<String, PrepareError> {
        self.about_card(("79", "00"), about, (owner, Some(code)))
    }

    /// 开通查询
    pub(super) fn ask_opened(&self, (number, at): (&str, Timestamp)) -> Result<String, PrepareError> {
        self.sign(("78", "02", BIZ_TYPE, number, at), [("channelType", "07".into())])
    }

    /// 解除标记
    pub(super) fn delete(&self, about: (&str, Timestamp), token: &str) -> Result<String, PrepareError> {
        let token = self.tokens()?.named(token);
        self.sign(
            ("74", "01", BIZ_TYPE, about.0, about.1),
            [("channelType", "07".into()), ("tokenPayData", token.into())],
        )
    }

    fn active(&self, fields: &Fields<'_>, number: &str) -> Option<Standing> {
        let data = fields.get("tokenPayData")?.strip_prefix('{')?.strip_suffix('}')?;
        let said = |name: &str| {
            let mut all = data.split('&').filter_map(|piece| piece.split_once('='));
            all.find_map(|(known, value)| (known == name).then_some(value))
        };
        let is_ours = |requestor: &str| self.tokens.as_ref().is_some_and(|t| t.requestor == requestor);
        let token = said("token").filter(|_| said("trId").is_none_or(is_ours))?;
        let is_token = (1..=TOKEN_MAX).contains(&token.len())
            && token.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}[]".contains(&byte));
        // Opening has no number of the network's own.
        let network_id = storable(fields.get("queryId").unwrap_or(number));
        is_token.then(|| Standing::Active { network_id, token: token.to_owned() })
    }

    /// What the answer to a code that is asked for says.
    pub(super) fn code_sent(&self, body: &[u8], about: (&str, Timestamp)) -> Standing {
        let fields = match self.read(body, about) {
            Ok(fields) if fields.is("txnType", "77") => fields,
            Ok(_) => return unknown("an answer of another kind"),
            Err(why) => return unknown(why),
        };
        match fields.get("respCode") {
            Some(message::OK) => Standing::AwaitsCode { network_id: None },
            Some(code) => match codes::of_payment_request(code) {
                Refused::NotTaken => Standing::NotSent { why: format!("refused: {}", storable(code)) },
                Refused::Declined => Standing::Declined { code: storable(code) },
                Refused::Unknown => unknown(format!("answer {}", storable(code))),
            },
            None => unknown("an answer without a code"),
        }
    }

    /// What the answer to opening says. Whatever is not sure an opening query tells.
    pub(super) fn opened(&self, body: &[u8], about: (&str, Timestamp)) -> Result<Standing, WrongCode> {
        let fields = match self.read(body, about) {
            Ok(fields) if fields.is("txnType", "79") => fields,
            Ok(_) => return Ok(unknown("an answer of another kind")),
            Err(why) => return Ok(unknown(why)),
        };
        Ok(match fields.get("respCode") {
            Some(message::OK) => {
                self.active(&fields, about.0).unwrap_or_else(|| unknown("an opening without a token"))
            }
            Some(codes::WRONG_CODE) => return Err(WrongCode),
            Some(code) if codes::of_direct_request(code) == Refused::Declined => {
                Standing::Declined { code: storable(code) }
            }
            code => unknown(format!("answer {code:?}")),
        })
    }

    /// What an opening query, asked at `at`, says. That a card is not opened says nothing of a code
    /// that is on its way.
    pub(super) fn found_opened(&self, body: &[u8], about: (&str, Timestamp), at: Timestamp) -> Standing {
        let fields = match self.read(body, about) {
            Ok(fields) if fields.is("txnType", "78") => fields,
            Ok(_) => return unknown("an answer of another kind"),
            Err(why) => return unknown(why),
        };
        match fields.get("respCode") {
            Some(message::OK) => {
                self.active(&fields, about.0).unwrap_or_else(|| unknown("an opening without a token"))
            }
            Some(code) if codes::NOT_OPENED.contains(&code) && at <= closed_at(about.1) => {
                Standing::AwaitsCode { network_id: None }
            }
            Some(code) if codes::NOT_OPENED.contains(&code) => {
                Standing::Declined { code: "NotConfirmed".to_owned() }
            }
            code => unknown(format!("answer {code:?}")),
        }
    }

    /// Is the token deleted, by the answer to that, or was it before? None: it may be.
    pub(super) fn deleted(&self, body: &[u8], about: (&str, Timestamp)) -> Option<bool> {
        let fields = self.read(body, about).ok().filter(|fields| fields.is("txnType", "74"))?;
        match fields.get("respCode")? {
            message::OK => Some(true),
            code if codes::NOT_OPENED.contains(&code) || codes::TOKEN_ENDED.contains(&code) => Some(true),
            code => (codes::of_payment_request(code) == Refused::Declined).then_some(false),
        }
    }
}
