//! Is the database fit to hold books? Looked at before the first write.

use snafu::ResultExt;
use tokio_postgres::Client;

use payplane_api::config::MigrateConfig;
use payplane_api::names::{ROLE_GATEWAY, ROLE_LEDGER, ROLE_VAULT};

use crate::{MigrateError, NotReadySnafu, QuerySnafu, UnfitSnafu};

const VERSION_MIN: i32 = 140_000;

/// Refuses with the setting's name and the remedy.
pub(crate) async fn check(client: &Client, config: &MigrateConfig) -> Result<(), MigrateError> {
    server(client).await?;
    timezone(client, &config.timezone).await?;
    owner(client).await?;
    logins(client, config.external).await?;
    overrides(client).await
}

fn unfit<T>(remedy: String) -> Result<T, MigrateError> {
    UnfitSnafu { remedy }.fail()
}

fn version(number: i32) -> Result<(), MigrateError> {
    if number < VERSION_MIN {
        return unfit(format!("server_version is {number}; use PostgreSQL 14 or newer"));
    }
    Ok(())
}

/// A setting, what it must be, and whether it is.
async fn server(client: &Client) -> Result<(), MigrateError> {
    let sql = "SELECT current_setting('server_version_num')::int4, current_setting('fsync'),
                      current_setting('full_page_writes'), current_setting('synchronous_commit'),
                      pg_is_in_recovery(), current_setting('transaction_read_only'),
                      current_setting('session_replication_role'), current_setting('server_encoding')";
    let row = client.query_one(sql, &[]).await.context(QuerySnafu { what: "looking at the server" })?;
    version(row.get(0))?;
    for (column, setting) in [(1, "fsync"), (2, "full_page_writes")] {
        if row.get::<_, &str>(column) != "on" {
            return unfit(format!(
                "{setting} is off: a power cut would lose or tear books; set {setting} = on"
            ));
        }
    }
    let commit: &str = row.get(3);
    if matches!(commit, "off" | "local") {
        return unfit(format!(
            "synchronous_commit is {commit}: acknowledged payments could be lost; set it to on"
        ));
    }
    if row.get::<_, bool>(4) {
        return unfit("the server is a standby (pg_is_in_recovery); name the primary's address".to_owned());
    }
    if row.get::<_, &str>(5) != "off" {
        return unfit("transaction_read_only is on; set default_transaction_read_only = off".to_owned());
    }
    if row.get::<_, &str>(6) != "origin" {
        return unfit(
            "session_replication_role is not origin: triggers would not fire; set it to origin".to_owned(),
        );
    }
    let encoding: &str = row.get(7);
    if encoding != "UTF8" {
        return unfit(format!("server_encoding is {encoding}; create the database with encoding UTF8"));
    }
    Ok(())
}

/// The books are cut by its days inside the database.
async fn timezone(client: &Client, zone: &str) -> Result<(), MigrateError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_timezone_names WHERE lower(name) = lower($1))";
    let row = client.query_one(sql, &[&zone]).await.context(QuerySnafu { what: "looking at time zones" })?;
    if row.get(0) {
        return Ok(());
    }
    unfit(format!("timezone {zone} is not known to the server; update its time zone data"))
}

async fn owner(client: &Client) -> Result<(), MigrateError> {
    let sql = "SELECT rolname::text, rolsuper, has_database_privilege(current_database(), 'CREATE')
                 FROM pg_roles WHERE rolname = current_user";
    let row = client.query_one(sql, &[]).await.context(QuerySnafu { what: "looking at the owner role" })?;
    let role: &str = row.get(0);
    if row.get(1) {
        return unfit(format!(
            "role {role} is a superuser, whose rights the books' functions would run with; \
             ALTER ROLE {role} NOSUPERUSER"
        ));
    }
    if !row.get::<_, bool>(2) {
        return unfit(format!("role {role} may not create schemas; GRANT CREATE ON DATABASE to it"));
    }
    Ok(())
}

/// The logins of the components exist and can reach nothing but their grants.
async fn logins(client: &Client, external: bool) -> Result<(), MigrateError> {
    let sql = "SELECT rolcanlogin, rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication,
                      pg_has_role(oid, current_user::regrole, 'MEMBER'),
                      (SELECT min(m.rolname::text) FROM pg_roles m
                        WHERE m.oid <> r.oid AND pg_has_role(r.oid, m.oid, 'MEMBER')
                          AND (m.rolsuper OR m.rolname = ANY ($2) OR m.rolname IN ('pg_write_all_data', 'pg_read_all_data',
                               'pg_write_server_files', 'pg_read_server_files', 'pg_execute_server_program')))
                 FROM pg_roles r WHERE rolname = $1";
    let ours = [ROLE_LEDGER, ROLE_GATEWAY, ROLE_VAULT];
    for role in ours {
        let row = client
            .query_opt(sql, &[&role, &ours.as_slice()])
            .await
            .context(QuerySnafu { what: "looking at the login roles" })?;
        let Some(row) = row else {
            // In a managed database the roles follow shortly after the server.
            let what = format!("login role {role} does not exist; CREATE ROLE {role} LOGIN");
            return if external { unfit(what) } else { NotReadySnafu { what }.fail() };
        };
        if !row.get::<_, bool>(0) {
            return unfit(format!("role {role} cannot log in; ALTER ROLE {role} LOGIN"));
        }
        if row.get(1) {
            return unfit(format!(
                "role {role} has administrative rights; ALTER ROLE {role} \
                 NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION"
            ));
        }
        if row.get(2) {
            return unfit(format!("role {role} is a member of the owner's role; REVOKE that membership"));
        }
        if let Some(mighty) = row.get::<_, Option<&str>>(3) {
            return unfit(format!("role {role} is a member of {mighty}; REVOKE {mighty} FROM {role}"));
        }
    }
    Ok(())
}

/// Settings kept for a role or the database that would weaken later sessions.
async fn overrides(client: &Client) -> Result<(), MigrateError> {
    let sql = "SELECT coalesce(r.rolname::text, 'every role'), c.setting
                 FROM pg_db_role_setting s
                 LEFT JOIN pg_roles r ON r.oid = s.setrole
                 LEFT JOIN pg_database d ON d.oid = s.setdatabase
                CROSS JOIN LATERAL unnest(s.setconfig) AS c (setting)
                WHERE (s.setrole = 0 OR r.rolname IN ('ledger', 'gateway', 'payplane_vault', current_user))
                  AND (s.setdatabase = 0 OR d.datname = current_database())
                  AND (c.setting ~* '^synchronous_commit=(off|local|false|no|0)$'
                       OR c.setting ~* '^session_replication_role=(replica|local)$'
                       OR c.setting ~* '^default_transaction_read_only=(on|true|yes|1)$'
                       OR c.setting ~* '^default_transaction_isolation=(repeatable read|serializable)$')";
    let row = client.query(sql, &[]).await.context(QuerySnafu { what: "looking at role settings" })?;
    match row.first() {
        None => Ok(()),
        Some(row) => {
            let (role, setting): (&str, &str) = (row.get(0), row.get(1));
            unfit(format!("{setting} is kept for {role}; ALTER ROLE or DATABASE ... RESET it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_servers_are_refused() {
        assert!(version(140_000).is_ok() && version(180_001).is_ok());
        let refused = version(130_018).unwrap_err();
        assert!(refused.to_string().contains("use PostgreSQL 14 or newer"), "{refused}");
    }
}
