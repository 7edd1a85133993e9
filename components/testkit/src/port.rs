//! Ports for test servers.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};

/// Below the kernel's range for outgoing connections (32768 and up on Linux):
/// a port from that range can be some client's by the time the server starts.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;
const TRIES_MAX: u16 = 1_000;

/// A port of 127.0.0.1 that is free and that this process has not named before.
pub fn free() -> Result<u16> {
    static NAMED: AtomicU16 = AtomicU16::new(0);
    // Processes that run at once start far from each other.
    let start = std::process::id().wrapping_mul(97);
    (0..TRIES_MAX)
        .map(|_| {
            let step = start.wrapping_add(u32::from(NAMED.fetch_add(1, Ordering::Relaxed)));
            FIRST + (step % u32::from(COUNT)) as u16
        })
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no free port on 127.0.0.1")
}
