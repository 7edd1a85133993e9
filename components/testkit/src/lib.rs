//! What tests need of the real world: a private PostgreSQL with fsync on, and a
//! certificate authority. Only tests depend on it.

pub mod disk;
pub mod ledger;
pub mod pki;
pub mod port;
pub mod postgres;
pub mod random;

pub use disk::Disk;
pub use pki::Pki;
pub use postgres::Postgres;
