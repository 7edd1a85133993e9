#!/usr/bin/env bash
# chaos-gateway.sh: kills, freezes and cuts gateways, ledgers, database and networks while a merchant pays, until the
# result counts (docs/testing-faults.md). SEED repeats a run; EACH and PAYMENTS ask for more or less than counts.
. "$(dirname "$0")/lib.sh"
export PAYPLANE_CHAOS_GATEWAY_LONG=1 RUST_BACKTRACE=${RUST_BACKTRACE:-0}
if [ -n "${SEED:-}" ]; then export PAYPLANE_SEED=$SEED; fi
if [ -n "${EACH:-}" ]; then export PAYPLANE_CHAOS_EACH=$EACH; fi
if [ -n "${PAYMENTS:-}" ]; then export PAYPLANE_CHAOS_PAYMENTS=$PAYMENTS; fi
cargo test --release --locked --workspace --test stack -- chaos:: --nocapture
