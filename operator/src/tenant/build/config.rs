//! The components' configs, from the structs that they parse.

use payplane_api::config::{
    ChannelConfig, DatabaseConfig, FeeConfig, GatewayConfig, KeyFile, LedgerConfig, LimitConfig,
    MethodConfig, MigrateConfig, NetworkConfig, SimulatorNetwork,
};
use payplane_api::names::{PORT_DATABASE, PORT_LEDGER, ROLE_GATEWAY, ROLE_LEDGER, ROLE_OWNER};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::metadata;
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

/// A channel's entry in the gateway's config.
#[must_use]
pub fn channel_config(
    channel: &payplane_crds::Channel,
    enabled: bool,
    files: &[(String, Vec<u8>)],
) -> Option<ChannelConfig> {
    use payplane_api::currency::Currency;
    let simulator = channel.spec.simulator.as_ref()?;
    let key_file = |suffix: &str| {
        let (file, bytes) = files.iter().find(|(name, _)| name.ends_with(suffix))?;
        Some(KeyFile { file: file.clone(), sha256: hex::encode(Sha256::digest(bytes)) })
    };
    let method = |(place, method): (usize, &payplane_crds::channel::Method)| MethodConfig {
        name: method.name.clone(),
        priority: u32::try_from(place).unwrap_or(u32::MAX),
        fees: method
            .fees
            .iter()
            .filter_map(|fee| {
                let currency = Currency::parse(&fee.currency).ok()?;
                Some(FeeConfig {
                    currency,
                    basis_points: fee.basis_points,
                    fixed_minor: fee.fixed_minor,
                    max_minor: fee.max_minor,
                })
            })
            .collect(),
        limits: method
            .limits
            .iter()
            .filter_map(|limit| {
                let currency = Currency::parse(&limit.currency).ok()?;
                Some(LimitConfig { currency, per_payment_minor_max: limit.per_payment_minor_max })
            })
            .collect(),
    };
    let service = &simulator.service;
    Some(ChannelConfig {
        name: channel.metadata.name.clone()?,
        enabled,
        methods: channel.spec.methods.iter().enumerate().map(method).collect(),
        network: NetworkConfig::Simulator(SimulatorNetwork {
            endpoint: format!("https://{}.{}.svc:{}", service.name, service.namespace, service.port),
            merchant_id: simulator.merchant_id.clone().try_into().ok()?,
            merchant_key: key_file(".key")?,
            network_key: key_file(".pub")?,
            ca: key_file(".ca")?,
        }),
    })
}
