//! Every object of the sample tenants, as YAML. `UPDATE=1` writes them anew.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::path::{Path, PathBuf};

use clap::Parser;
use payplane_crds::PaymentTenant;
use payplane_operator::framework::object::Object;
use payplane_operator::settings::Settings;
use payplane_operator::tenant::build::{self, Facts, config, database, namespace, workload};
use payplane_operator::tenant::endpoint;
use payplane_operator::tenant::validate::{Tenant, validate};

const BOOKS: &str = "0198f000-0000-7000-8000-000000000001";

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    settings: Settings,
}

fn settings() -> Settings {
    let flags = [
        "operator",
        "--payplane-image=localhost/payplane:test",
        "--postgresql-image=localhost/postgresql:15",
        "--denied-cidrs=10.96.0.0/12",
    ];
    Command::parse_from(flags).settings
}

fn tenant(sample: &str) -> Tenant {
    let path = Path::new("../crds/samples").join(sample);
    let mut object: PaymentTenant = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    object.metadata.uid = Some("11111111-2222-3333-4444-555555555555".to_owned());
    validate(&object).unwrap_or_else(|refused| panic!("{sample}: {refused:?}"))
}

/// Everything that is made of a tenant, in the order in which it is applied.
fn objects(tenant: &Tenant, settings: &Settings, facts: &Facts) -> Vec<Object> {
    let books = facts.books_marked.as_deref();
    let build::Foundation { quota, limits, service_accounts, bindings, policies } =
        build::foundation(tenant, facts, settings);
    let build::Services { ledger_config, deployments, services, budgets } = build::services(tenant, settings);
    let mut all = vec![
        namespace::build_namespace(tenant, books),
        namespace::build_operator_binding(tenant, settings),
        quota,
        limits,
    ];
    all.extend(service_accounts);
    all.extend(bindings);
    all.extend(policies);
    all.extend(database::build_cluster(tenant, facts, settings));
    all.push(config::build_migrate_config(tenant, books));
    all.push(workload::build_migrate_job(tenant, settings));
    all.push(ledger_config);
    all.push(config::build_gateway_config(tenant, &config::gateway_config(tenant, settings, &[], 1), &[]));
    all.extend(services);
    all.extend(budgets);
    all.extend(deployments);
    all
}

fn check(sample: &str, facts: &Facts) {
    let documents: Vec<_> = objects(&tenant(sample), &settings(), facts)
        .iter()
        .map(|object| serde_yaml::to_string(&object.0).unwrap())
        .collect();
    let text = format!(
        "# Generated from operator/src: UPDATE=1 cargo test writes it anew.\n---\n{}",
        documents.join("---\n")
    );
    let path: PathBuf = Path::new("tests/objects").join(sample);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{} is not current: UPDATE=1 writes it anew", path.display());
}

#[test]
fn a_new_development_tenant() {
    let facts =
        Facts { api_servers: vec![("192.0.2.1".into(), 6443)], standbys_stream: false, books_marked: None };
    check("demo.yaml", &facts);
}

#[test]
fn a_production_tenant_whose_standbys_stream() {
    let facts = Facts {
        api_servers: vec![("192.0.2.1".into(), 6443)],
        standbys_stream: true,
        books_marked: Some(BOOKS.into()),
    };
    check("production.yaml", &facts);
}

#[test]
fn an_external_database() {
    let facts = Facts { api_servers: Vec::new(), standbys_stream: false, books_marked: None };
    check("external-database.yaml", &facts);
}

#[test]
fn what_holds_books_has_no_owner() {
    let facts = Facts { api_servers: Vec::new(), standbys_stream: true, books_marked: Some(BOOKS.into()) };
    for object in objects(&tenant("production.yaml"), &settings(), &facts) {
        let owned = object.0["metadata"]["ownerReferences"].is_array();
        let holds_books = matches!(object.kind(), "Namespace" | "Cluster");
        // The operator's own binding outlives the tenant with the books.
        let binding = object.name() == "payplane-operator";
        let guard = object.kind() == "NetworkPolicy" && matches!(object.name(), "default-deny" | "database");
        assert_eq!(owned, !holds_books && !binding && !guard, "{} {}", object.kind(), object.name());
        if holds_books {
            assert_eq!(object.0["metadata"]["annotations"]["payplane.io/books-id"], BOOKS);
        }
    }
}

#[test]
fn no_commit_waits_for_a_standby_before_one_streams() {
    let built = |standbys_stream| {
        let facts = Facts { api_servers: Vec::new(), standbys_stream, books_marked: None };
        database::build_cluster(&tenant("production.yaml"), &facts, &settings()).unwrap()
    };
    assert!(built(false).0["spec"]["postgresql"]["synchronous"].is_null());
    assert_eq!(built(true).0["spec"]["postgresql"]["synchronous"]["dataDurability"], "required");
}

#[test]
fn a_migration_is_the_same_once_the_books_are_known() {
    let mut tenant = tenant("demo.yaml");
    let before = workload::build_migrate_job(&tenant, &settings());
    tenant.books_id = Some(BOOKS.to_owned());
    assert_eq!(before, workload::build_migrate_job(&tenant, &settings()));
    let mut other = settings();
    other.payplane_image = "localhost/payplane:next".to_owned();
    assert_ne!(before, workload::build_migrate_job(&tenant, &other));
}

/// An external database lies in `egressCidrs` and in nothing that is closed, whatever its name leads to.
#[test]
fn an_external_database_lies_where_the_tenant_may_go() {
    let mut tenant = tenant("external-database.yaml");
    tenant.spec.network.as_mut().unwrap().egress_cidrs = vec!["192.0.2.0/24".into(), "10.0.0.0/8".into()];
    let says = |addresses: &[&str]| {
        let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        endpoint::check(&tenant, &addresses, &settings()).map_err(|refused| refused.detail)
    };
    assert_eq!(says(&[]), Ok(()), "a name that leads nowhere yet is waited for");
    assert_eq!(says(&["192.0.2.7", "10.1.2.3"]), Ok(()));
    for (address, why) in [
        ("198.51.100.7", "lies outside spec.network.egressCidrs"),
        ("10.96.0.1", "lies in 10.96.0.0/12, which is closed to tenants"),
        ("::ffff:10.96.0.1", "lies in 10.96.0.0/12, which is closed to tenants"),
        ("169.254.169.254", "lies in 169.254.0.0/16, which is closed to tenants"),
    ] {
        let refused = says(&["192.0.2.7", address]).unwrap_err();
        assert!(
            refused.contains(why) && refused.contains("spec.database.external.host"),
            "{address}: {refused}"
        );
    }
}
