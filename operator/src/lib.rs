//! payplane-operator: watches the kinds of payplane.io, applies what they ask
//! for, and tells the truth in their status.

pub mod framework;
pub mod pki;
pub mod pods;
pub mod poller;
pub mod quantity;
pub mod run;
pub mod settings;
pub mod tenant;
