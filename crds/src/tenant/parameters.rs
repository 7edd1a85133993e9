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

use values::{GB, HOUR, KB, MB, SECOND};
pub use values::{Values, check, describe};

mod values;

/// A setting, what it may be, and why it is harmless to the books.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub why: &'static str,
    pub values: Values,
    /// -1 is a value too: PostgreSQL chooses, or it is off.
    pub minus_one: bool,
}

const fn of(name: &'static str, values: Values, why: &'static str) -> Parameter {
    Parameter { name, why, values, minus_one: false }
}

const fn or_minus_one(name: &'static str, values: Values, why: &'static str) -> Parameter {
    Parameter { name, why, values, minus_one: true }
}

const fn number(least: f64, most: f64) -> Values {
    Values::Number { least, most }
}

const fn memory(bare: f64, least: f64) -> Values {
    Values::Memory { bare, least }
}

const fn time(bare: f64, least: f64, most: f64) -> Values {
    Values::Time { bare, least, most }
}

const fn size(bare: f64, least: f64, most: f64) -> Values {
    Values::Size { bare, least, most }
}

const SWITCH: Values = Values::Words(&["off", "on"]);
/// PostgreSQL does not start with less than two segments of log.
const WAL: Values = size(MB, 32.0 * MB, 1024.0 * GB);

/// Each allowed setting. The limits lie within PostgreSQL's, which the suite
/// `parameters` asks; what cannot be meant is left out.
pub const ALLOWED: &[Parameter] = &[
    of("autovacuum_max_workers", number(1.0, 32.0), "how many tables are vacuumed at once"),
    of("autovacuum_naptime", time(SECOND, SECOND, HOUR), "how often vacuum looks for work"),
    or_minus_one("autovacuum_vacuum_cost_limit", number(1.0, 10_000.0), "how fast vacuum may work"),
    of("autovacuum_vacuum_scale_factor", number(0.0, 1.0), "from which share of dead rows vacuum works"),
    of("checkpoint_completion_target", number(0.1, 1.0), "how evenly checkpoints are spread"),
    of(
        "checkpoint_timeout",
        time(SECOND, 30.0 * SECOND, 24.0 * HOUR),
        "how long recovery may take at most, not what it finds",
    ),
    of("default_statistics_target", number(1.0, 10_000.0), "how well the planner estimates"),
    of(
        "effective_cache_size",
        size(8.0 * KB, 8.0 * KB, 8192.0 * GB),
        "what the planner believes to be cached",
    ),
    of("effective_io_concurrency", number(0.0, 1000.0), "how many reads are issued at once"),
    of("hash_mem_multiplier", number(1.0, 1000.0), "memory of a query"),
    of(
        "lock_timeout",
        time(1.0, 0.0, HOUR),
        "refuses a statement that waits too long, which then rolls back; 0 waits",
    ),
    or_minus_one(
        "log_min_duration_statement",
        time(1.0, 0.0, 24.0 * HOUR),
        "from which duration statements are logged",
    ),
    of("maintenance_work_mem", memory(KB, MB), "memory of vacuum and index builds"),
    of("max_connections", number(50.0, 1000.0), "how many sessions fit"),
    of("max_parallel_workers", number(0.0, 1024.0), "parallelism of queries"),
    of("max_parallel_workers_per_gather", number(0.0, 1024.0), "parallelism of one query"),
    of("max_wal_size", WAL, "how much log stands between checkpoints"),
    of("min_wal_size", WAL, "how much log is kept for reuse"),
    of("random_page_cost", number(0.0, 1000.0), "what the planner believes a read to cost"),
    of("shared_buffers", memory(8.0 * KB, 128.0 * KB), "memory of the server's cache"),
    of("temp_buffers", memory(8.0 * KB, 800.0 * KB), "memory of temporary tables"),
    of("track_io_timing", SWITCH, "whether reads and writes are timed"),
    or_minus_one(
        "wal_buffers",
        size(8.0 * KB, 32.0 * KB, 64.0 * MB),
        "memory of the log before it is written",
    ),
    of(
        "wal_compression",
        Values::Words(&["off", "on", "lz4", "zstd"]),
        "whether and how full pages are compressed in the log",
    ),
    of("work_mem", memory(KB, 64.0 * KB), "memory of a sort"),
];

/// What the API server answers to any other setting.
pub const MESSAGE: &str = "only settings of size and speed are allowed, none that touches durability: \
                           see the field reference for the list";

/// The CEL rule over the settings' names.
pub(crate) fn rule() -> String {
    let names: Vec<String> = ALLOWED.iter().map(|known| format!("'{}'", known.name)).collect();
    format!("self.all(name, name in [{}])", names.join(", "))
}

pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {
            "type": "string",
            "maxLength": 24,
            "pattern": r"^(on|off|lz4|zstd|-1|[0-9]{1,12}(\.[0-9]{1,6})?(B|kB|MB|GB|TB|us|ms|s|min|h|d)?)$",
        },
    })
}
