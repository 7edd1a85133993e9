//! What the charts make: pods that restricted namespaces take, rights that are
//! each explained and never reach Secrets of the whole cluster, values that are
//! checked.

use payplane_e2e::charts::{folder, render, required, template};
use serde_json::Value;

const DIGEST: &str = "sha256:0123456789012345678901234567890123456789012345678901234567890123";

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[test]
fn the_operator_runs_where_restricted_is_enforced() {
    let objects = render("payplane-operator", required("payplane-operator")).unwrap();
    let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert!(pod["hostNetwork"].is_null() && pod["hostPID"].is_null() && pod["volumes"].is_null());
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"]["drop"][0], "ALL");
        assert!(context["capabilities"]["add"].is_null());
        for kind in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert!(container[kind].is_object(), "{kind}");
        }
        assert!(container["resources"]["limits"]["memory"].is_string());
        assert!(container["resources"]["requests"]["cpu"].is_string());
    }
    for kind in ["PodDisruptionBudget", "NetworkPolicy", "Service", "ServiceAccount"] {
        assert_eq!(of_kind(&objects, kind).len(), 1, "{kind}");
    }
    // One replica must never hold up a drain.
    let alone = render("payplane-operator", &["replicas=1", required("payplane-operator")[0]]).unwrap();
    assert!(of_kind(&alone, "PodDisruptionBudget").is_empty());
}

#[test]
fn banks_mirror_images() {
    let values = [
        "image.registry=registry.bank/mirror",
        "image.tag=1.2.3",
        "image.pullSecrets={pull-a,pull-b}",
        "clusterCidrs={10.0.0.0/8,192.168.0.0/16}",
        &format!("image.components.digest={DIGEST}"),
        "image.postgresql.registry=registry.bank/databases",
    ];
    let objects = render("payplane-operator", &values).unwrap();
    let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["image"], "registry.bank/mirror/payplane-operator:1.2.3");
    assert_eq!(pod["imagePullSecrets"][1]["name"], "pull-b");
    for (name, value) in [
        ("PAYPLANE_IMAGE", format!("registry.bank/mirror/payplane@{DIGEST}").as_str()),
        ("POSTGRESQL_IMAGE", "registry.bank/databases/postgresql:15"),
        ("IMAGE_PULL_SECRETS", "pull-a,pull-b"),
        ("DENIED_CIDRS", "10.0.0.0/8,192.168.0.0/16"),
        ("LEAF_LIFETIME_SECONDS", "7776000"),
    ] {
        let env = container["env"].as_array().unwrap();
        assert!(
            env.iter().any(|e| e["name"] == name && e["value"] == value),
            "{name} should be {value}: {env:?}"
        );
    }
}

#[test]
fn values_are_checked() {
    for (chart, value, words) in [
        ("payplane-operator", "replicas=0", "replicas"),
        ("payplane-operator", "image.tag=latest", "tag"),
        ("payplane-operator", "image.operator.digest=sha256:1", "digest"),
        ("payplane-operator", "leafCertificateLifetimeSeconds=1", "leafCertificateLifetimeSeconds"),
        ("payplane-operator", "replicaz=2", "replicaz"),
        ("payplane-crds", "operator.namespace=A_B", "namespace"),
        ("payplane-crds", "operators.namespace=a", "operators"),
    ] {
        let values = [&[value], required(chart)].concat();
        let error = template(chart, &values).expect_err(value).to_string();
        assert!(error.contains(words), "{value}: {error}");
    }
    // Without them tenants could call the cluster's own networks by address.
    for values in [&[][..], &["clusterCidrs={ten}"]] {
        let error = template("payplane-operator", values).expect_err("clusterCidrs").to_string();
        assert!(error.contains("clusterCidrs"), "{error}");
    }
}

#[test]
fn no_right_reaches_secrets_of_the_whole_cluster() {
    let objects = render("payplane-operator", required("payplane-operator")).unwrap();
    let bound: Vec<&str> = of_kind(&objects, "ClusterRoleBinding")
        .iter()
        .map(|binding| binding["roleRef"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(bound, ["payplane-operator"]);
    for role in objects.iter().filter(|o| ["ClusterRole", "Role"].contains(&o["kind"].as_str().unwrap())) {
        let name = role["metadata"]["name"].as_str().unwrap();
        for rule in role["rules"].as_array().unwrap() {
            let words = |key: &str| -> Vec<&str> {
                rule[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
            };
            let all = [words("verbs"), words("resources"), words("apiGroups")].concat();
            assert!(!all.contains(&"*"), "{name}: {rule}");
            assert!(
                !words("verbs").iter().any(|verb| ["escalate", "impersonate"].contains(verb)),
                "{name}: {rule}"
            );
            assert!(
                name == "payplane-operator-tenant" || !words("resources").contains(&"secrets"),
                "{name}: {rule}"
            );
            assert!(!words("verbs").contains(&"bind") || rule["resourceNames"].is_array(), "{name}: {rule}");
        }
    }
}

/// Each rule stands under a comment that says what it is for.
#[test]
fn every_right_has_its_reason() {
    let mut rules = 0;
    for (chart, file) in [
        ("payplane-operator", "clusterrole.yaml"),
        ("payplane-operator", "clusterrole-tenant.yaml"),
        ("payplane-operator", "role.yaml"),
        ("payplane-crds", "tenant-roles.yaml"),
    ] {
        let text = std::fs::read_to_string(folder(chart).join("templates").join(file)).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("- apiGroups:")) {
            rules += 1;
            assert!(lines[index - 1].starts_with("# "), "{file}:{}: {line}", index + 1);
        }
    }
    assert!(rules > 20, "the rules are found: {rules}");
}

/// An uninstall keeps the kinds and everything that guards the books.
#[test]
fn an_uninstall_keeps_the_kinds_and_their_guards() {
    let objects = render("payplane-crds", &[]).unwrap();
    assert_eq!(of_kind(&objects, "CustomResourceDefinition").len(), 2);
    let policies = of_kind(&objects, "ValidatingAdmissionPolicy");
    assert_eq!(policies.len(), of_kind(&objects, "ValidatingAdmissionPolicyBinding").len());
    for policy in policies {
        assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    }
    for object in objects {
        assert_eq!(object["metadata"]["annotations"]["helm.sh/resource-policy"], "keep", "{object}");
    }
}
