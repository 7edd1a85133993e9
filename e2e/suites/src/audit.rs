//! The API server's audit log: who asked for what, and was it allowed.

use std::io::{BufRead, BufReader};

use serde_json::Value;

/// The operator's identity in the log.
pub const OPERATOR: &str = "system:serviceaccount:payplane-system:payplane-operator";

/// A finished request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub user: String,
    /// The pod whose token it was; empty where the token was made by hand.
    pub pod: String,
    pub verb: String,
    pub group: String,
    /// `resource[/subresource]`
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub code: i64,
    /// Authorization let it pass, whatever came of it then.
    pub allowed: bool,
    /// The role that did: `Role` or `ClusterRole`, and its name.
    pub role: String,
    /// Somebody annotated an object by hand.
    pub annotates: bool,
    pub dry_run: bool,
    pub at: String,
}

impl Request {
    /// Could it have changed something?
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
            && !self.dry_run
    }

    /// Is it about the Lease by which the operator leads?
    #[must_use]
    pub fn is_leadership(&self) -> bool {
        self.resource == "leases"
            && (self.namespace.as_str(), self.name.as_str()) == ("payplane-system", "payplane-operator")
    }

    /// Did the running operator send it?
    #[must_use]
    pub fn is_operators(&self) -> bool {
        self.user == OPERATOR && !self.pod.is_empty()
    }
}

/// Where the cluster's API server writes its audit log.
///
/// # Panics
/// Where nobody says where.
#[must_use]
pub fn path() -> String {
    std::env::var("LAB_AUDIT_LOG").expect("the lab names its audit log")
}

/// The log's present end, to read from later.
///
/// # Panics
/// Where the file is not there.
#[must_use]
pub fn end() -> u64 {
    std::fs::metadata(path()).expect("the audit log is there").len()
}

/// The operator's writes since an offset, its Lease left out.
#[must_use]
pub fn writes(from: u64) -> Vec<Request> {
    let (requests, _) = read(&path(), from);
    requests.into_iter().filter(|r| r.is_operators() && r.writes()).filter(|r| !r.is_leadership()).collect()
}

/// Reads the finished requests from an offset in the file; gives back them and
/// the offset after them.
///
/// # Panics
/// Where the file cannot be read.
#[must_use]
pub fn read(path: &str, from: u64) -> (Vec<Request>, u64) {
    use std::io::{Seek, SeekFrom};
    let mut file = std::fs::File::open(path).expect("the audit log opens");
    let _ = file.seek(SeekFrom::Start(from)).expect("the audit log is long enough");
    let (mut requests, mut offset) = (Vec::new(), from);
    let mut lines = BufReader::new(file);
    // The end of the file may be in the middle of a line that is being written.
    let mut line = String::new();
    while lines.read_line(&mut line).expect("the audit log is text") > 0 && line.ends_with('\n') {
        offset += line.len() as u64;
        if let Some(request) = serde_json::from_str(&line).ok().as_ref().and_then(finished) {
            requests.push(request);
        }
        line.clear();
    }
    (requests, offset)
}

fn finished(event: &Value) -> Option<Request> {
    if event["stage"] != "ResponseComplete" {
        return None;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let target = &event["objectRef"];
    let resource = match target["subresource"].as_str() {
        Some(sub) => format!("{}/{sub}", text(&target["resource"])),
        None => text(&target["resource"]),
    };
    let pod = &event["user"]["extra"]["authentication.kubernetes.io/pod-name"][0];
    Some(Request {
        user: text(&event["user"]["username"]),
        pod: text(pod),
        group: text(&target["apiGroup"]),
        allowed: event["annotations"]["authorization.k8s.io/decision"] == "allow",
        role: role(event["annotations"]["authorization.k8s.io/reason"].as_str().unwrap_or_default()),
        annotates: event["requestURI"]
            .as_str()
            .is_some_and(|uri| uri.contains("fieldManager=kubectl-annotate")),
        verb: text(&event["verb"]),
        resource,
        namespace: text(&target["namespace"]),
        name: text(&target["name"]),
        code: event["responseStatus"]["code"].as_i64().unwrap_or_default(),
        dry_run: event["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun=")),
        at: text(&event["requestReceivedTimestamp"]),
    })
}

/// From `RBAC: allowed by RoleBinding "a/b" of ClusterRole "c" to ...`: `ClusterRole c`.
fn role(reason: &str) -> String {
    let granted = reason.split_once("\" of ").map(|(_, role)| role);
    let role = granted.and_then(|role| role.split_once(" to ")).map(|(role, _)| role);
    role.unwrap_or_default().replace('"', "")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_role_that_let_a_request_pass_is_read() {
        let said = "RBAC: allowed by RoleBinding \"a/b\" of ClusterRole \"c\" to ServiceAccount \"d/e\"";
        assert_eq!(super::role(said), "ClusterRole c");
        assert_eq!(super::role(""), "");
    }
}
