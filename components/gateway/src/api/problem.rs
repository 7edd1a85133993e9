//! Refusals as the caller sees them: RFC 9457 problem details with stable codes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What went wrong, for programs. These names are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Code {
    InvalidField,
    BadSignature,
    UnknownKey,
    StaleRequest,
    ReplayedNonce,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    OrderConflict,
    StateConflict,
    OwnApplication,
    OwnProposal,
    UnknownMerchant,
    AppNotActive,
    NotBound,
    MerchantNotActive,
    UnknownTerminal,
    TerminalNotActive,
    TerminalDiffers,
    NoChannel,
    NoEndpoint,
    UnknownAgreement,
    AgreementNotActive,
    TooManyAgreements,
    WrongCode,
    RefundExceedsPayment,
    InsufficientBalance,
    Overloaded,
    DatabaseUnreachable,
    DatabaseReadOnly,
    Internal,
}

impl Code {
    pub const ALL: &[Self] = &[
        Self::InvalidField,
        Self::BadSignature,
        Self::UnknownKey,
        Self::StaleRequest,
        Self::ReplayedNonce,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::OrderConflict,
        Self::StateConflict,
        Self::OwnApplication,
        Self::OwnProposal,
        Self::UnknownMerchant,
        Self::AppNotActive,
        Self::NotBound,
        Self::MerchantNotActive,
        Self::UnknownTerminal,
        Self::TerminalNotActive,
        Self::TerminalDiffers,
        Self::NoChannel,
        Self::NoEndpoint,
        Self::UnknownAgreement,
        Self::AgreementNotActive,
        Self::TooManyAgreements,
        Self::WrongCode,
        Self::RefundExceedsPayment,
        Self::InsufficientBalance,
        Self::Overloaded,
        Self::DatabaseUnreachable,
        Self::DatabaseReadOnly,
        Self::Internal,
    ];

    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidField => StatusCode::BAD_REQUEST,
            Self::BadSignature | Self::UnknownKey | Self::StaleRequest | Self::ReplayedNonce => {
                StatusCode::UNAUTHORIZED
            }
            Self::Forbidden
            | Self::OwnApplication
            | Self::OwnProposal
            | Self::AppNotActive
            | Self::NotBound => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::OrderConflict | Self::StateConflict => StatusCode::CONFLICT,
            Self::UnknownMerchant
            | Self::MerchantNotActive
            | Self::UnknownTerminal
            | Self::TerminalNotActive
            | Self::TerminalDiffers
            | Self::NoChannel
            | Self::NoEndpoint
            | Self::UnknownAgreement
            | Self::AgreementNotActive
            | Self::TooManyAgreements
            | Self::WrongCode
            | Self::RefundExceedsPayment
            | Self::InsufficientBalance => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Overloaded | Self::DatabaseUnreachable | Self::DatabaseReadOnly => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::InvalidField => "A field is not valid",
            Self::BadSignature => "The signature does not verify",
            Self::UnknownKey => "The key is not registered",
            Self::StaleRequest => "The signature lies outside the time window",
            Self::ReplayedNonce => "The nonce was used for another request",
            Self::Forbidden => "This certificate may not do that",
            Self::NotFound => "There is no such object",
            Self::MethodNotAllowed => "The path has no such method",
            Self::OrderConflict => "The number is taken by another request",
            Self::StateConflict => "Its state does not allow this",
            Self::OwnApplication => "Nobody approves an application of his own",
            Self::OwnProposal => "A decision takes two persons",
            Self::UnknownMerchant => "The merchant is not registered",
            Self::AppNotActive => "The app is suspended or closed",
            Self::NotBound => "The app may not pay to this merchant",
            Self::MerchantNotActive => "The merchant takes no payments",
            Self::UnknownTerminal => "The terminal is not registered",
            Self::TerminalNotActive => "The terminal is suspended or closed",
            Self::TerminalDiffers => "The terminal is bound otherwise",
            Self::NoChannel => "No channel can take this payment",
            Self::UnknownAgreement => "No such agreement was signed",
            Self::AgreementNotActive => "No payment can be made by this agreement",
            Self::TooManyAgreements => "Too many agreements were asked for about this account",
            Self::WrongCode => "The bank sent the payer another code",
            Self::NoEndpoint => "The app has no notification address",
            Self::RefundExceedsPayment => "Refunds would exceed the payment",
            Self::InsufficientBalance => "The balance does not cover it",
            Self::Overloaded => "Too busy, or a part is away: try again with the same request",
            Self::DatabaseUnreachable => "The database does not answer",
            Self::DatabaseReadOnly => "The database takes no writes",
            Self::Internal => "It went wrong on our side",
        }
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: Code,
    pub detail: String,
    /// The field that it is about, as the API names it.
    pub field: Option<String>,
}

impl Problem {
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), field: None }
    }

    #[must_use]
    pub fn field(field: &str, detail: impl Into<String>) -> Self {
        Self { code: Code::InvalidField, detail: detail.into(), field: Some(field.to_owned()) }
    }

    /// For what the caller can only wait out.
    #[must_use]
    pub fn overloaded(detail: &str) -> Self {
        Self::new(Code::Overloaded, detail)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: Code,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = Body {
            r#type: format!("urn:payplane:problem:{:?}", self.code),
            title: self.code.title(),
            status: status.as_u16(),
            code: self.code,
            detail: &self.detail,
            field: self.field.as_deref(),
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], json).into_response();
        if self.code == Code::Overloaded {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
