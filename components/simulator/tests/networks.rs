//! The real networks as their merchants see them: a real process over real
//! TLS, real keys, notifications to a real https server. What is verified here
//! is verified by this test's own code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "networks/alipay.rs"]
mod alipay;
#[path = "networks/bank.rs"]
mod bank;
#[path = "networks/stage.rs"]
mod stage;
#[path = "networks/unionpay.rs"]
mod unionpay;
#[path = "networks/wechat.rs"]
mod wechat;
