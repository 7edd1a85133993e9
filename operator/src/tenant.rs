//! The PaymentTenant's reconcile, in five steps: dereference, validate, build,
//! apply, status.

pub mod apply;
pub mod build;
pub mod certificates;
pub mod channels;
pub mod conditions;
pub mod context;
pub mod controller;
pub mod database;
pub mod delete;
pub mod dereference;
pub mod endpoint;
pub mod epoch;
pub mod events;
pub mod gates;
pub mod migration;
pub mod observe;
pub mod orphans;
pub mod pace;
pub mod rotation;
pub mod status;
pub mod sweep;
pub mod untended;
pub mod validate;
pub mod verdict;
