//! The control row: which books the database holds, and what their tenant may
//! not take back.

use payplane_api::config::{Environment, MigrateConfig};
use snafu::ResultExt;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{ConflictSnafu, MigrateError, QuerySnafu};

/// The control row as it stands.
#[derive(Clone, Debug)]
pub struct Books {
    pub books_id: Uuid,
    pub tenant: String,
    pub environment: String,
    pub currencies: Vec<String>,
    pub time_zone: String,
    pub instances_min: i32,
    pub storage_bytes_min: i64,
}

pub(crate) async fn read(client: &Client) -> Result<Option<Books>, MigrateError> {
    let what = "reading the control row";
    let there = client
        .query_one("SELECT to_regclass('payplane.control') IS NOT NULL", &[])
        .await
        .context(QuerySnafu { what })?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = client
        .query_opt(
            "SELECT books_id, tenant, environment, currencies, time_zone, instances_min, storage_bytes_min
               FROM payplane.control",
            &[],
        )
        .await
        .context(QuerySnafu { what })?;
    Ok(row.map(|row| Books {
        books_id: row.get(0),
        tenant: row.get(1),
        environment: row.get(2),
        currencies: row.get(3),
        time_zone: row.get(4),
        instances_min: row.get(5),
        storage_bytes_min: row.get(6),
    }))
}

/// Refuses a tenant that these books do not belong to. Every message names the
/// field and the remedy.
pub fn compare(books: Option<&Books>, config: &MigrateConfig) -> Result<(), MigrateError> {
    let conflict = |remedy: String| ConflictSnafu { remedy }.fail();
    let Some(books) = books else {
        return match &config.books_id {
            Some(expected) => conflict(format!(
                "booksId: the tenant's books are {expected}, but this database holds none; \
                 point database at the server that holds them"
            )),
            None => Ok(()),
        };
    };
    if let Some(expected) = &config.books_id
        && *expected != books.books_id.to_string()
    {
        return conflict(format!(
            "booksId: the database holds the books {}, the tenant expects {expected}; \
             point database at the server that holds them",
            books.books_id
        ));
    }
    if config.tenant != books.tenant {
        return conflict(format!(
            "tenant: these are the books of tenant {}, not of {}; point database at a server or database of its own",
            books.tenant, config.tenant
        ));
    }
    let environment = name(config.environment);
    if environment != books.environment {
        return conflict(format!(
            "environment: the books were opened as {}, not {environment}; set environment: {}",
            books.environment, books.environment
        ));
    }
    if config.timezone != books.time_zone {
        return conflict(format!(
            "timezone: the books are kept in {}, not {}; set timezone: {}",
            books.time_zone, config.timezone, books.time_zone
        ));
    }
    let wanted = currencies(config);
    if let Some(lacking) = books.currencies.iter().find(|code| !wanted.contains(code)) {
        return conflict(format!(
            "currencies: the books are kept in {lacking} too; add {lacking} back (adding others is allowed)"
        ));
    }
    if instances(config) < books.instances_min {
        return conflict(format!(
            "database.managed.instances: the books had {} instances, not {}; set at least {}",
            books.instances_min, config.instances, books.instances_min
        ));
    }
    if storage(config) < books.storage_bytes_min {
        return conflict(format!(
            "database.managed.storage.size: the books had {} bytes, not {}; storage only grows",
            books.storage_bytes_min, config.storage_bytes
        ));
    }
    Ok(())
}

/// Creates the control row, or records what the tenant added to it.
pub(crate) async fn write(
    client: &mut Client,
    known: Option<Books>,
    config: &MigrateConfig,
) -> Result<Uuid, MigrateError> {
    let Some(books) = known else { return create(client, config).await };
    let mut all = books.currencies.clone();
    all.extend(currencies(config).into_iter().filter(|code| !books.currencies.contains(code)));
    let instances = instances(config).max(books.instances_min);
    let storage = storage(config).max(books.storage_bytes_min);
    let changes = [
        ("currencies", books.currencies.join(","), all.join(",")),
        ("instances", books.instances_min.to_string(), instances.to_string()),
        ("storageBytes", books.storage_bytes_min.to_string(), storage.to_string()),
    ];
    let changed: Vec<_> = changes.iter().filter(|(_, old, new)| old != new).collect();
    if changed.is_empty() {
        return Ok(books.books_id);
    }
    let what = QuerySnafu { what: "recording a change of the control row" };
    let transaction = client.transaction().await.context(what)?;
    for (field, old, new) in changed {
        let sql = "INSERT INTO payplane.control_changes (field, old_value, new_value) VALUES ($1, $2, $3)";
        transaction.execute(sql, &[field, old, new]).await.context(what)?;
    }
    let sql = "UPDATE payplane.control SET currencies = $1, instances_min = $2, storage_bytes_min = $3";
    transaction.execute(sql, &[&all, &instances, &storage]).await.context(what)?;
    transaction.commit().await.context(what)?;
    Ok(books.books_id)
}

async fn create(client: &Client, config: &MigrateConfig) -> Result<Uuid, MigrateError> {
    let books_id = Uuid::new_v4();
    let sql = "INSERT INTO payplane.control
                 (books_id, tenant, environment, currencies, time_zone, instances_min, storage_bytes_min)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let (environment, currencies) = (name(config.environment), currencies(config));
    let least = (instances(config), storage(config));
    client
        .execute(
            sql,
            &[&books_id, &config.tenant, &environment, &currencies, &config.timezone, &least.0, &least.1],
        )
        .await
        .context(QuerySnafu { what: "creating the control row" })?;
    Ok(books_id)
}

fn name(environment: Environment) -> &'static str {
    match environment {
        Environment::Live => "Live",
        Environment::Test => "Test",
    }
}

fn currencies(config: &MigrateConfig) -> Vec<String> {
    config.currencies.iter().map(ToString::to_string).collect()
}

/// An external database says 0 where it has no count: the row keeps at least 1.
fn instances(config: &MigrateConfig) -> i32 {
    i32::try_from(config.instances.max(1)).unwrap_or(i32::MAX)
}

fn storage(config: &MigrateConfig) -> i64 {
    i64::try_from(config.storage_bytes.max(1)).unwrap_or(i64::MAX)
}
