//! What each process of the stack has used: seconds of CPU, and memory at most.

use anyhow::{Context as _, Result};

use super::rig::Rig;
use crate::machine::{all_cpu_seconds, family_cpu_seconds, family_peak_mb, peak_mb_of, stat};
use crate::report::{figure, precise};

/// Their processes by name. PostgreSQL is one with all its children.
pub(super) struct Usage {
    pids: Vec<(&'static str, u32)>,
    before: Vec<f64>,
    machine_before: f64,
}

impl Usage {
    /// From now on.
    pub(super) async fn begin(rig: &Rig) -> Result<Self> {
        let mut pids = vec![];
        for process in rig.gateways.iter().chain([&rig.ledger, &rig.simulator]) {
            pids.push((process.name, process.pid()));
        }
        pids.push(("postgresql", postmaster(rig).await?));
        pids.push(("client", std::process::id()));
        let before = pids.iter().map(|(_, pid)| seconds(*pid)).collect();
        Ok(Self { pids, before, machine_before: all_cpu_seconds() })
    }

    /// CPU since then for each of so many payments, and how busy the two cores were.
    pub(super) fn figures(&self, what: &str, payments: u64, seconds_all: f64) {
        let mut all = 0.0;
        for ((name, pid), before) in self.pids.iter().zip(&self.before) {
            let used = seconds(*pid) - before;
            all += used;
            figure(
                &format!("gateway_cpu_per_payment({what} {name})"),
                used * 1e6 / precise(payments.max(1)),
                "us",
            );
        }
        figure(&format!("gateway_cpu_per_payment({what} all)"), all * 1e6 / precise(payments.max(1)), "us");
        // What the machine did beside it tells whether the figures can be believed.
        let beside = all_cpu_seconds() - self.machine_before - all;
        figure(&format!("gateway_cores_busy({what})"), all / seconds_all, "cores");
        figure(&format!("gateway_cores_busy_beside({what})"), beside / seconds_all, "cores");
    }

    /// The most that each has kept.
    pub(super) fn memory(&self, what: &str) {
        for (name, pid) in &self.pids {
            let peak = if *name == "postgresql" { family_peak_mb(*pid) } else { peak_mb_of(*pid) };
            figure(&format!("gateway_memory_peak({what} {name})"), peak, "MB");
        }
    }
}

fn seconds(pid: u32) -> f64 {
    // The client's children are the others, except where they are PostgreSQL's.
    if pid == std::process::id() {
        return precise([11, 12].into_iter().filter_map(|field| stat(pid, field)).sum()) / 100.0;
    }
    family_cpu_seconds(pid)
}

/// The parent of a session.
async fn postmaster(rig: &Rig) -> Result<u32> {
    let client = rig.postgres.connect("postgres").await?;
    let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let parent = stat(u32::try_from(backend)?, 1).context("no such session")?;
    Ok(u32::try_from(parent)?)
}
