//! The admission policies and roles of the charts on a real API server: who may
//! touch what holds books, what a tenant's team may write, and where the
//! operator's rights end.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::time::Duration;

use kube::Client;
use kube::core::Status;
use payplane_e2e::apiserver::ApiServer;
use payplane_e2e::charts;
use payplane_e2e::manifests::{api, apply, create, delete, merge, would_apply, would_merge_by_status};
use serde_json::{Value, json};

const BOOKS: &str = "01936f7e-8f2b-7c3a-9d41-2f6a5b7c8d9e";
const OPERATOR: &str = "system:serviceaccount:payplane-system:payplane-operator";
const HOLDS: &str = "it holds the books";

struct Cluster {
    server: ApiServer,
    admin: Client,
    operator: Client,
}

impl Cluster {
    /// Both charts, CloudNativePG's kinds, a tenant with books, and a foreign namespace.
    async fn start() -> Self {
        let server = ApiServer::start().await.unwrap();
        let admin = server.client().await.unwrap();
        let operator = server.client_as(OPERATOR, &["system:serviceaccounts"]).await.unwrap();
        ok(apply(&admin, &namespace("payplane-system", None, None)).await.unwrap());
        for object in cloudnativepg_kinds() {
            ok(apply(&admin, &object).await.unwrap());
        }
        for chart in ["payplane-crds", "payplane-operator"] {
            for object in charts::render(chart, charts::required(chart)).unwrap() {
                ok(apply(&admin, &object).await.unwrap());
            }
        }
        ok(apply(&admin, &namespace("foreign", None, None)).await.unwrap());
        let this = Self { server, admin, operator };
        this.wait_for_policies().await;
        this
    }

    /// Policies take effect a moment after they were written: every one must show.
    async fn wait_for_policies(&self) {
        let canary = namespace("ptn-canary", Some("canary"), Some(BOOKS));
        eventually(async || apply(&self.operator, &canary).await.unwrap().is_ok()).await;
        let forged = namespace("ptn-forged", Some("forged"), None);
        eventually(async || refused(&self.admin, &forged).await).await;
        eventually(async || refused(&self.operator, &namespace("evil", Some("evil"), None)).await).await;
        eventually(async || delete(&self.admin, &canary, true).await.unwrap().is_err()).await;
        eventually(async || delete(&self.admin, &kind("channels.payplane.io"), true).await.unwrap().is_err())
            .await;
        let binding = binding("payplane-operator", "foreign", "payplane-operator-tenant", operator_subject());
        eventually(async || refused(&self.operator, &binding).await).await;
    }

    async fn as_team(&self) -> Client {
        self.server.client_as("alice", &["team"]).await.unwrap()
    }

    /// A tenant's namespace as the operator makes it: its binding first, then the team's.
    async fn tenant(&self, name: &str, books: Option<&str>) {
        let home = format!("ptn-{name}");
        ok(apply(&self.operator, &namespace(&home, Some(name), books)).await.unwrap());
        let own = binding("payplane-operator", &home, "payplane-operator-tenant", operator_subject());
        eventually(async || apply(&self.operator, &own).await.unwrap().is_ok()).await;
        let team = binding(
            "tenant-admin",
            &home,
            "payplane-tenant-admin",
            json!([{
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "team",
            }]),
        );
        eventually(async || apply(&self.operator, &team).await.unwrap().is_ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_books_is_deleted_and_unmarked_by_the_operator_alone() {
    let cluster = Cluster::start().await;
    cluster.tenant("a", Some(BOOKS)).await;
    let home = namespace("ptn-a", Some("a"), Some(BOOKS));
    let claim = marked(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "database-1", "namespace": "ptn-a"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }));
    let database = marked(json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster",
        "metadata": {"name": "database", "namespace": "ptn-a"},
        "spec": {"instances": 1, "storage": {"size": "1Gi"}},
    }));
    ok(create(&cluster.admin, &claim, false).await.unwrap());
    ok(apply(&cluster.operator, &database).await.unwrap());

    for object in [&home, &claim, &database] {
        says(delete(&cluster.admin, object, true).await.unwrap(), HOLDS);
        for mark in [Value::Null, json!("another")] {
            let patch = json!({"metadata": {"annotations": {"payplane.io/books-id": mark}}});
            says(merge(&cluster.admin, object, &patch, true).await.unwrap(), "marks the books");
        }
        let harmless = json!({"metadata": {"labels": {"note": "audited"}}});
        ok(merge(&cluster.admin, object, &harmless, true).await.unwrap());
    }
    let unmark = json!({"metadata": {"annotations": {"payplane.io/books-id": null}}});
    for object in [&home, &claim] {
        says(would_merge_by_status(&cluster.admin, object, &unmark).await.unwrap(), "marks the books");
    }
    // The garbage collector would delete what a missing object owns.
    let owned = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "01936f7e-0000-7000-8000-000000000000"},
    ]}});
    for object in [&home, &claim, &database] {
        says(merge(&cluster.admin, object, &owned, true).await.unwrap(), "ownerReferences stay as they are");
    }
    let claims = api(&cluster.admin, &claim).await.unwrap();
    let all = claims
        .delete_collection(&kube::api::DeleteParams::default(), &kube::api::ListParams::default())
        .await;
    assert!(all.unwrap_err().to_string().contains(HOLDS), "a collection is held like its members");
    for name in ["paymenttenants.payplane.io", "channels.payplane.io", "clusters.postgresql.cnpg.io"] {
        says(
            delete(&cluster.admin, &kind(name), true).await.unwrap(),
            "holds books, which would be deleted with the kind",
        );
    }

    // The system's controllers finish what the operator began.
    let groups = ["system:serviceaccounts", "system:masters"];
    let user = "system:serviceaccount:kube-system:namespace-controller";
    let controller = cluster.server.client_as(user, &groups).await.unwrap();
    ok(delete(&controller, &claim, false).await.unwrap());
    ok(delete(&cluster.operator, &database, false).await.unwrap());
    // Without books, a kind may go.
    for name in ["ptn-a", "ptn-canary"] {
        ok(merge(&cluster.operator, &namespace(name, None, None), &unmark, false).await.unwrap());
    }
    eventually(async || delete(&cluster.admin, &kind("channels.payplane.io"), true).await.unwrap().is_ok())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_acts_only_in_namespaces_that_it_made() {
    let cluster = Cluster::start().await;
    cluster.tenant("b", None).await;
    let operator = &cluster.operator;
    let names = "the operator makes only namespaces named ptn-<tenant>";
    for (name, tenant) in [("evil", Some("evil")), ("ptn-evil", None), ("ptn-evil", Some("other"))] {
        says(apply(operator, &namespace(name, tenant, None)).await.unwrap(), names);
    }
    let adopt = "changes and deletes only namespaces that bear its label";
    for name in ["foreign", "kube-system"] {
        says(apply(operator, &namespace(name, Some(name), None)).await.unwrap(), adopt);
    }
    says(delete(operator, &namespace("foreign", None, None), true).await.unwrap(), adopt);
    let relabel = json!({"metadata": {"labels": {"payplane.io/tenant": "c"}}});
    says(merge(operator, &namespace("ptn-b", None, None), &relabel, false).await.unwrap(), "never changes");

    let role = "payplane-operator-tenant";
    for name in ["foreign", "kube-system"] {
        let own = binding("payplane-operator", name, role, operator_subject());
        says(apply(operator, &own).await.unwrap(), "binds roles only in namespaces that it made");
        // By any other name RBAC refuses it already.
        says(
            apply(operator, &binding("other", name, role, operator_subject())).await.unwrap(),
            "is forbidden",
        );
    }
    let alice = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}]);
    says(
        apply(operator, &binding("leak", "ptn-b", role, alice.clone())).await.unwrap(),
        "to nobody but itself",
    );
    says(apply(operator, &binding("leak", "ptn-b", "cluster-admin", alice)).await.unwrap(), "is forbidden");

    let read = async |namespace: &str| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace}});
        api(operator, &secret).await.unwrap().list(&kube::api::ListParams::default()).await.map(|_| ())
    };
    for namespace in ["foreign", "kube-system", "payplane-system"] {
        assert!(read(namespace).await.unwrap_err().to_string().contains("is forbidden"), "{namespace}");
    }
    read("ptn-b").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_marked_by_the_operator_alone() {
    let cluster = Cluster::start().await;
    cluster.tenant("c", None).await;
    let (admin, live) = (&cluster.admin, namespace("ptn-c", None, None));
    let (label, uid, books) = ("makes a namespace a tenant's", "for which tenant", "as holding books");
    let noted = |key: &str| json!({"metadata": {"annotations": {key: BOOKS}}});

    let mut forged = namespace("ptn-forged", None, None);
    ok(create(admin, &forged, true).await.unwrap());
    says(create(admin, &namespace("ptn-forged", Some("forged"), None), true).await.unwrap(), label);
    says(create(admin, &namespace("ptn-forged", None, Some(BOOKS)), true).await.unwrap(), books);
    forged["metadata"]["annotations"] = json!({"payplane.io/tenant-uid": BOOKS});
    says(create(admin, &forged, true).await.unwrap(), uid);

    for tenant in [Value::Null, json!("other")] {
        let relabel = json!({"metadata": {"labels": {"payplane.io/tenant": tenant}}});
        says(merge(admin, &live, &relabel, true).await.unwrap(), label);
    }
    says(merge(admin, &live, &noted("payplane.io/tenant-uid"), true).await.unwrap(), uid);
    says(would_merge_by_status(admin, &live, &noted("payplane.io/tenant-uid")).await.unwrap(), uid);
    says(merge(admin, &live, &noted("payplane.io/books-id"), true).await.unwrap(), books);
    ok(merge(admin, &live, &noted("note"), true).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_team_writes_only_credentials_of_channels() {
    let cluster = Cluster::start().await;
    cluster.tenant("a", None).await;
    let team = cluster.as_team().await;
    let only = "may write only Secrets of type payplane.io/channel-credentials";
    let secret = |name: &str, kind: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind, "stringData": {"a": "b"},
            "metadata": {"name": name, "namespace": "ptn-a"},
        })
    };
    for name in ["tenant-ca", "db-ledger", "admin-client", "admin-checker"] {
        ok(apply(&cluster.operator, &secret(name, "Opaque")).await.unwrap());
    }
    // The platform's team brings the login of an external database.
    ok(apply(&cluster.admin, &secret("login", "payplane.io/database-credentials")).await.unwrap());

    let own = secret("network-1", "payplane.io/channel-credentials");
    eventually(async || apply(&team, &own).await.unwrap().is_ok()).await;
    ok(merge(&team, &own, &json!({"stringData": {"a": "c"}}), false).await.unwrap());
    ok(delete(&team, &own, false).await.unwrap());
    for (name, kind) in [
        ("new", "Opaque"),
        ("new", "payplane.io/database-credentials"),
        ("tenant-ca", "Opaque"),
        ("db-ledger", "Opaque"),
    ] {
        says(apply(&team, &secret(name, kind)).await.unwrap(), only);
    }
    let mut token = secret("token", "kubernetes.io/service-account-token");
    token["metadata"]["annotations"] = json!({"kubernetes.io/service-account.name": "default"});
    says(apply(&team, &token).await.unwrap(), only);
    for name in ["tenant-ca", "login"] {
        says(delete(&team, &secret(name, ""), true).await.unwrap(), only);
    }

    let secrets = api(&team, &own).await.unwrap();
    secrets.get("admin-client").await.unwrap();
    // Who applies for a merchant does not approve it, too.
    for name in ["tenant-ca", "db-ledger", "login", "admin-checker"] {
        assert!(secrets.get(name).await.unwrap_err().to_string().contains("is forbidden"), "{name}");
    }
    for (group, resource, subresource) in [
        ("", "pods", ""),
        ("", "pods", "exec"),
        ("batch", "jobs", ""),
        ("apps", "deployments", ""),
        ("rbac.authorization.k8s.io", "rolebindings", ""),
        ("networking.k8s.io", "networkpolicies", ""),
        ("", "configmaps", ""),
        ("", "serviceaccounts", "token"),
        ("payplane.io", "paymenttenants", ""),
    ] {
        assert!(!may_create(&team, group, resource, subresource).await, "{group}/{resource}/{subresource}");
    }
    assert!(may_create(&team, "payplane.io", "channels", "").await);
}

async fn may_create(client: &Client, group: &str, resource: &str, subresource: &str) -> bool {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
        "spec": {"resourceAttributes": {
            "namespace": "ptn-a", "verb": "create", "group": group, "resource": resource, "subresource": subresource,
        }},
    });
    let typed = serde_json::from_value(review.clone()).unwrap();
    let answer =
        api(client, &review).await.unwrap().create(&kube::api::PostParams::default(), &typed).await.unwrap();
    answer.data["status"]["allowed"] == true
}

fn namespace(name: &str, tenant: Option<&str>, books: Option<&str>) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    if let Some(tenant) = tenant {
        object["metadata"]["labels"] = json!({"payplane.io/tenant": tenant});
    }
    if let Some(books) = books {
        object["metadata"]["annotations"] = json!({"payplane.io/books-id": books});
    }
    object
}

fn marked(mut object: Value) -> Value {
    object["metadata"]["annotations"] = json!({"payplane.io/books-id": BOOKS});
    object
}

fn kind(name: &str) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}})
}

fn binding(name: &str, namespace: &str, role: &str, subjects: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    })
}

fn operator_subject() -> Value {
    json!([{"kind": "ServiceAccount", "name": "payplane-operator", "namespace": "payplane-system"}])
}

/// CloudNativePG's CRDs, from the manifest of its release.
fn cloudnativepg_kinds() -> Vec<Value> {
    let manifest = payplane_lab::programs::ensure(Some("cnpg")).unwrap().cnpg_manifest();
    let text = std::fs::read_to_string(manifest).unwrap();
    let read = |document| <Value as serde::Deserialize>::deserialize(document).unwrap();
    let objects = serde_yaml::Deserializer::from_str(&text).map(read);
    objects.filter(|object| object["metadata"]["name"] == "clusters.postgresql.cnpg.io").collect()
}

async fn refused(client: &Client, object: &Value) -> bool {
    would_apply(client, object)
        .await
        .unwrap()
        .is_err_and(|status| status.message.contains("ValidatingAdmissionPolicy"))
}

fn ok(answer: Result<(), Status>) {
    answer.unwrap_or_else(|status| panic!("{}", status.message));
}

fn says(answer: Result<(), Status>, words: &str) {
    let status = answer.expect_err(words);
    assert!(status.message.contains(words), "should say {words:?}, says {}", status.message);
}

/// Admission and RBAC read from caches that follow within a moment.
async fn eventually(check: impl AsyncFn() -> bool) {
    for _ in 0..150 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within 15 s");
}
