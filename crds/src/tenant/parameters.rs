//! The PostgreSQL settings that a tenant may choose.
//!
//! A list of what is allowed, not of what is forbidden: a release of PostgreSQL
//! can bring a setting that weakens durability, never one that gets in here by
//! itself. Left out on purpose: `fsync`, `full_page_writes`,
//! `synchronous_commit`, `synchronous_standby_names`, `wal_sync_method`,
//! `wal_level`, `data_sync_retry`, `zero_damaged_pages`,
//! `ignore_checksum_failure`, `archive_*`, `ssl*` and everything about logins,
//! files and libraries (the operator or CloudNativePG owns them), and
//! `commit_delay`, whose effect depends on the load of the moment.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Each allowed setting, and why it is harmless to the books.
pub const ALLOWED: &[(&str, &str)] = &[
    ("autovacuum_max_workers", "how many tables are vacuumed at once"),
    ("autovacuum_naptime", "how often vacuum looks for work"),
    ("autovacuum_vacuum_cost_limit", "how fast vacuum may work"),
    ("autovacuum_vacuum_scale_factor", "from which share of dead rows vacuum works"),
    ("checkpoint_completion_target", "how evenly checkpoints are spread"),
    ("checkpoint_timeout", "how long recovery may take at most, not what it finds"),
    ("default_statistics_target", "how well the planner estimates"),
    ("effective_cache_size", "what the planner believes to be cached"),
    ("effective_io_concurrency", "how many reads are issued at once"),
    ("hash_mem_multiplier", "memory of a query"),
    ("lock_timeout", "refuses a statement that waits too long, which then rolls back"),
    ("log_min_duration_statement", "from which duration statements are logged"),
    ("maintenance_work_mem", "memory of vacuum and index builds"),
    ("max_connections", "how many sessions fit"),
    ("max_parallel_workers", "parallelism of queries"),
    ("max_parallel_workers_per_gather", "parallelism of one query"),
    ("max_wal_size", "how much log stands between checkpoints"),
    ("min_wal_size", "how much log is kept for reuse"),
    ("random_page_cost", "what the planner believes a read to cost"),
    ("shared_buffers", "memory of the server's cache"),
    ("temp_buffers", "memory of temporary tables"),
    ("track_io_timing", "whether reads and writes are timed"),
    ("wal_buffers", "memory of the log before it is written"),
    ("wal_compression", "whether full pages are compressed in the log"),
    ("work_mem", "memory of a sort"),
];

/// What the API server answers to any other setting.
pub const MESSAGE: &str = "only settings of size and speed are allowed, none that touches durability: \
                           see the field reference for the list";

/// The CEL rule over the settings' names.
pub(crate) fn rule() -> String {
    let names: Vec<String> = ALLOWED.iter().map(|(name, _)| format!("'{name}'")).collect();
    format!("self.all(name, name in [{}])", names.join(", "))
}

pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {
            "type": "string",
            "maxLength": 24,
            "pattern": r"^(on|off|-1|[0-9]{1,12}(\.[0-9]{1,6})?(B|kB|MB|GB|TB|us|ms|s|min|h|d)?)$",
        },
    })
}
