//! Rights against what was asked: which rule nobody used, and which request was
//! refused. Pure functions of a role's rules and the audit log.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::audit::Request;
use crate::kubectl;

/// One verb on one resource, as a rule grants it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    pub group: String,
    pub resource: String,
    pub verb: String,
    /// The only name that it is about; empty: every name.
    pub name: String,
}

/// Every right that rules grant, one verb at a time. `bind` is left out: no
/// request bears it, it is asked for inside a write of a binding.
#[must_use]
pub fn rights(rules: &Value) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for rule in rules.as_array().into_iter().flatten() {
        let texts = |field: &str| -> Vec<String> {
            let given = rule[field].as_array().into_iter().flatten();
            given.filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let mut names = texts("resourceNames");
        if names.is_empty() {
            names.push(String::new());
        }
        for group in texts("apiGroups") {
            for resource in texts("resources") {
                for verb in texts("verbs").into_iter().filter(|verb| verb != "bind") {
                    for name in names.clone() {
                        let (group, resource, verb) = (group.clone(), resource.clone(), verb.clone());
                        all.insert(Right { group, resource, verb, name });
                    }
                }
            }
        }
    }
    all
}

impl Right {
    /// Did this request need the right?
    fn met_by(&self, request: &Request) -> bool {
        // A server-side apply that makes an object needs `create` beside `patch`, and answers 201.
        let made = self.verb == "create" && request.verb == "patch" && request.code == 201;
        self.group == request.group
            && self.resource == request.resource
            && (self.verb == request.verb || made)
            && (self.name.is_empty() || self.name == request.name)
            && request.allowed
    }
}

/// The rights of a role by which no request passed: what another role, or the same
/// one elsewhere, lets pass is no need of this one.
#[must_use]
pub fn unused<'a>(rights: &'a BTreeSet<Right>, role: &str, requests: &[Request]) -> Vec<&'a Right> {
    let passed: Vec<_> = requests.iter().filter(|request| request.role == role).collect();
    rights.iter().filter(|right| !passed.iter().any(|request| right.met_by(request))).collect()
}

/// Requests of the operator that authorization refused. Left out are those in a
/// namespace within `RACE_SECONDS` after the operator's binding there was written
/// or deleted, or the namespace itself was made or deleted: rights take a moment to be believed,
/// and end before the last request. And those after its chart was removed, or
/// after a suite restarted the API server, which knows no rights while it reads them.
#[must_use]
pub fn forbidden(requests: &[Request]) -> Vec<&Request> {
    let turns: Vec<Turn<'_>> = requests.iter().filter_map(turn).collect();
    let refused = requests.iter().filter(|request| request.is_operators() && !request.allowed);
    refused.filter(|request| !turns.iter().any(|turn| turn.excuses(request))).collect()
}

const RACE_SECONDS: i64 = 5;
const EVERYWHERE_SECONDS: i64 = 60;

/// Says in the audit log that the API server is about to be restarted.
pub fn mark_api_restart() {
    let at = format!("{API_RESTARTED}={}", jiff::Timestamp::now());
    let _ = kubectl::ok(&["annotate", "--overwrite", "namespace", OPERATORS_HOME, &at]);
}

const OPERATORS_HOME: &str = "payplane-system";
const API_RESTARTED: &str = "e2e.payplane.io/api-restarted";

/// A moment at which the operator's rights changed.
struct Turn<'a> {
    /// The namespace that it is about; none: everywhere.
    home: Option<&'a str>,
    at: i64,
}

impl Turn<'_> {
    fn excuses(&self, request: &Request) -> bool {
        let later = seconds(&request.at).saturating_sub(self.at);
        match self.home {
            Some(home) => home == request.namespace && (0..=RACE_SECONDS).contains(&later),
            None => (0..=EVERYWHERE_SECONDS).contains(&later),
        }
    }
}

fn turn(request: &Request) -> Option<Turn<'_>> {
    let own = request.name == "payplane-operator";
    let home = match request.resource.as_str() {
        "namespaces" if request.name == OPERATORS_HOME && request.annotates => None,
        "namespaces"
            if request.name.starts_with("ptn-") && (request.code == 201 || request.verb == "delete") =>
        {
            Some(request.name.as_str())
        }
        "rolebindings" if own && request.namespace.starts_with("ptn-") => Some(request.namespace.as_str()),
        "clusterrolebindings" if own && request.verb == "delete" => None,
        _ => return None,
    };
    (request.writes() && request.allowed).then(|| Turn { home, at: seconds(&request.at) })
}

fn seconds(at: &str) -> i64 {
    at.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::OPERATOR;

    fn request(verb: &str, resource: &str, namespace: &str, name: &str, at: &str) -> Request {
        let [verb, resource, namespace, name] = [verb, resource, namespace, name].map(str::to_owned);
        let at = format!("2026-01-01T00:00:{at}Z");
        Request { verb, resource, namespace, name, at, allowed: true, code: 200, ..Request::default() }
    }

    fn rules() -> Value {
        json!([
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "patch"]},
            {"apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"], "verbs": ["patch", "bind"]},
        ])
    }

    #[test]
    fn a_right_that_nobody_needed_is_found_verb_by_verb() {
        let mut all = vec![
            request("get", "secrets", "ptn-a", "b", "01"),
            Request { code: 201, ..request("patch", "secrets", "ptn-a", "b", "01") },
            request("patch", "pods", "ptn-a", "a", "01"),
        ];
        all.iter_mut().for_each(|request| request.role = "ClusterRole c".to_owned());
        let rights = rights(&rules());
        fn unused<'a>(rights: &'a BTreeSet<Right>, all: &[Request]) -> Vec<&'a Right> {
            super::unused(rights, "ClusterRole c", all)
        }
        assert!(unused(&rights, &all).is_empty());
        // Planted: the role has what another one grants.
        let mut other = all.clone();
        other[0].role = "Role c".to_owned();
        assert_eq!(unused(&rights, &other).len(), 1);
        // Planted: an object was changed only, and a right is about another name.
        all[1].code = 200;
        all[2].name = "b".to_owned();
        let found: Vec<_> =
            unused(&rights, &all).iter().map(|r| (r.verb.as_str(), r.resource.as_str())).collect();
        assert_eq!(found, [("patch", "pods"), ("create", "secrets")]);
        // Planted: a rule too many.
        let mut more = rules();
        more[0]["verbs"].as_array_mut().unwrap().push("watch".into());
        assert!(unused(&super::rights(&more), &all).iter().any(|right| right.verb == "watch"));
        // What was refused was no use of a right.
        all[0].allowed = false;
        assert!(unused(&rights, &all).iter().any(|right| right.verb == "get"));
    }

    #[test]
    fn a_refused_request_is_found_but_for_the_moment_after_a_binding() {
        let bound =
            Request { code: 201, ..request("patch", "rolebindings", "ptn-a", "payplane-operator", "01") };
        let refused = |namespace, at| Request {
            allowed: false,
            code: 403,
            user: OPERATOR.to_owned(),
            pod: "payplane-operator-0".to_owned(),
            ..request("get", "secrets", namespace, "tenant-ca", at)
        };
        let all = [bound.clone(), refused("ptn-a", "02"), refused("ptn-a", "30"), refused("ptn-b", "02")];
        let found: Vec<_> = forbidden(&all).iter().map(|r| (r.namespace.as_str(), &r.at[17..19])).collect();
        assert_eq!(found, [("ptn-a", "30"), ("ptn-b", "02")]);
        // The API server was restarted: for a minute nobody's rights were known for sure.
        let patched = request("patch", "namespaces", "payplane-system", "payplane-system", "28");
        let restarted = Request { annotates: true, ..patched.clone() };
        assert_eq!(forbidden(&[patched, refused("ptn-a", "30")]).len(), 1);
        assert_eq!(forbidden(&[restarted, refused("ptn-a", "02"), refused("ptn-a", "30")]).len(), 1);
        // Somebody else's binding excuses nothing.
        let other = Request { name: "tenant-admin".to_owned(), ..bound };
        assert_eq!(forbidden(&[other, refused("ptn-a", "02")]).len(), 1);
        // A token that somebody made by hand is not the running operator.
        let by_hand = Request { pod: String::new(), ..refused("ptn-b", "02") };
        assert!(forbidden(&[by_hand]).is_empty());
    }
}
