//! What tests need of the real world: a private PostgreSQL with fsync on, and a
//! certificate authority. Only tests depend on it.

pub mod pki;
pub mod port;
pub mod postgres;

pub use pki::Pki;
pub use postgres::Postgres;
