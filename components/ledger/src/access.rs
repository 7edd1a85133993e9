//! Who may call what, by the common name of the client certificate.

use payplane_api::names::{CN_GATEWAY, CN_OPERATOR};
use payplane_common::serve::Peer;
use tonic::{Request, Status};

/// What a method needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Posting, opening accounts and reading them.
    Book,
    /// Summing the books.
    Sum,
    /// Asking whether money can move.
    Watch,
    /// Raising the config epoch.
    Fence,
    /// Closing accounting days, freezing and closing accounts.
    Close,
}

/// The caller's name, where it has the right.
pub fn caller<T>(request: &Request<T>, right: Right) -> Result<String, Status> {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0.clone());
    let Some(name) = peer else {
        return Err(Status::unauthenticated("a client certificate with a common name is needed"));
    };
    let may = match name.as_str() {
        // The gateway passes the operator's questions on.
        CN_GATEWAY => true,
        CN_OPERATOR => matches!(right, Right::Watch | Right::Fence | Right::Sum),
        _ => false,
    };
    if may {
        return Ok(name);
    }
    Err(Status::permission_denied(format!("{name:?} may not call this method")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: Option<&str>, right: Right) -> Result<String, tonic::Code> {
        let mut request = Request::new(());
        request.extensions_mut().insert(Peer(name.map(str::to_owned)));
        caller(&request, right).map_err(|status| status.code())
    }

    #[test]
    fn names_are_rights() {
        use tonic::Code::{PermissionDenied, Unauthenticated};
        assert_eq!(ask(Some("gateway"), Right::Book), Ok("gateway".to_owned()));
        assert_eq!(ask(Some("operator"), Right::Book), Err(PermissionDenied));
        assert_eq!(ask(Some("operator"), Right::Close), Err(PermissionDenied));
        assert_eq!(ask(Some("operator"), Right::Fence), Ok("operator".to_owned()));
        assert_eq!(ask(Some("admin-client"), Right::Sum), Err(PermissionDenied));
        assert_eq!(ask(Some("Gateway"), Right::Book), Err(PermissionDenied));
        assert_eq!(ask(None, Right::Book), Err(Unauthenticated));
    }
}
