//! The components' configs, from the structs that they parse.

use payplane_api::config::{DatabaseConfig, GatewayConfig, LedgerConfig, MigrateConfig};
use payplane_api::names::{PORT_DATABASE, PORT_LEDGER, ROLE_GATEWAY, ROLE_LEDGER, ROLE_OWNER};
use serde_json::json;

use super::{metadata, risk};
use crate::framework::object::Object;
use crate::quantity;
use crate::settings::Settings;
use crate::tenant::channels::Usable;
use crate::tenant::validate::Tenant;

/// The folder that an external database's passwords are mounted in.
pub const PASSWORDS: &str = "/etc/payplane/database-credentials";

fn database(tenant: &Tenant, role: &str) -> DatabaseConfig {
    match tenant.external() {
        Some(external) => DatabaseConfig {
            host: external.host.clone(),
            port: external.port,
            database: external.database.clone(),
            user: role.to_owned(),
            password_file: Some(format!("{PASSWORDS}/{role}")),
        },
        None => DatabaseConfig {
            host: format!("database-rw.{}.svc", tenant.namespace),
            port: PORT_DATABASE,
            database: "payplane".to_owned(),
            user: role.to_owned(),
            password_file: None,
        },
    }
}

#[must_use]
pub fn build_ledger_config(tenant: &Tenant) -> Object {
    let config = LedgerConfig {
        tenant: tenant.name.clone(),
        environment: tenant.environment,
        currencies: tenant.currencies.clone(),
        calendar: tenant.calendar.clone(),
        database: database(tenant, ROLE_LEDGER),
    };
    config_map(tenant, "ledger", "ledger-config", &serde_json::to_string_pretty(&config).unwrap_or_default())
}

#[must_use]
pub fn build_migrate_config(tenant: &Tenant, books: Option<&str>) -> Object {
    let managed = tenant.managed();
    let bytes = managed.and_then(|m| quantity::thousandths(&m.storage.size.0)).map_or(0, |t| t / 1000);
    let config = MigrateConfig {
        tenant: tenant.name.clone(),
        environment: tenant.environment,
        currencies: tenant.currencies.clone(),
        timezone: tenant.calendar.timezone.clone(),
        database: database(tenant, ROLE_OWNER),
        books_id: books.map(str::to_owned),
        instances: managed.and_then(|m| u32::try_from(m.instances).ok()).unwrap_or(0),
        storage_bytes: u64::try_from(bytes).unwrap_or(0),
        external: managed.is_none(),
    };
    config_map(
        tenant,
        "migrate",
        "migrate-config",
        &serde_json::to_string_pretty(&config).unwrap_or_default(),
    )
}

fn config_map(tenant: &Tenant, component: &str, name: &str, text: &str) -> Object {
    Object::new(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(tenant, component, name, true),
        "data": {"config.json": text},
    }))
}

/// The gateway's config on an epoch.
#[must_use]
pub fn gateway_config(tenant: &Tenant, settings: &Settings, channels: &[Usable], epoch: u64) -> String {
    let config = GatewayConfig {
        tenant: tenant.name.clone(),
        environment: tenant.environment,
        epoch,
        currencies: tenant.currencies.clone(),
        calendar: tenant.calendar.clone(),
        database: database(tenant, ROLE_GATEWAY),
        ledger: format!("https://ledger.{}.svc:{PORT_LEDGER}", tenant.namespace),
        denied_cidrs: settings.closed().map(str::to_owned).collect(),
        channels: channels.iter().map(|channel| channel.config.clone()).collect(),
        risk: tenant.risk.clone(),
        step_up: risk::step_up_config(tenant.spec.risk.as_ref()),
    };
    serde_json::to_string_pretty(&config).unwrap_or_default()
}

/// The Secret that holds the gateway's config and every channel's keys, so that
/// the kubelet swaps all of it at once.
#[must_use]
pub fn build_gateway_config(tenant: &Tenant, text: &str, channels: &[Usable]) -> Object {
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut data = serde_json::Map::new();
    data.insert("config.json".to_owned(), encode(text.as_bytes()).into());
    for (name, bytes) in channels.iter().flat_map(|channel| &channel.files) {
        data.insert(name.clone(), encode(bytes).into());
    }
    Object::new(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": metadata(tenant, "gateway", "gateway-config", true),
        "data": data,
    }))
}
