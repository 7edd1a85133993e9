#!/usr/bin/env bash
# test.sh short|full: everything that proves the product, on a cluster of its own.
. "$(dirname "$0")/lib.sh"
form=$1
e2e/scripts/prerequisites.sh tests
# What an earlier run that was killed has left is not the machine's own state.
lab cluster down "$CLUSTER" >/dev/null
lab cluster prune

say "House rules"
make check

say "Tests that need no cluster: money, books on a real PostgreSQL, kinds on a real API server, the whole stack, the lab"
tests() { env -u KUBECONFIG cargo test --release --locked --workspace "$@"; }
# beside COMMAND...: runs it in the background until `joined`, which prints what it said.
beside() {
  said=$(mktemp)
  "$@" >"$said" 2>&1 &
  other=$!
  trap 'kill $other 2>/dev/null || true; cat "$said"; rm -f "$said"' EXIT
}
joined() {
  wait "$other" || fail "a test that ran beside others failed"
  trap - EXIT
  cat "$said"
  rm -f "$said"
}
tests --lib -- --test-threads=2
# The stack's wait most of their time, each for servers and a database of its own.
beside tests --test stack -- --test-threads=3
tests --test migrate -- --test-threads=2
tests --test ledger -- --test-threads=3
tests --test docs --test objects --test charts --test parameters --test crd_rules --test policies --test network --test networks --test load --test policy \
  --test teardown -- --test-threads=1
joined
if [ "$form" = full ]; then
  say "Planted bugs: each must be caught"
  tests --test ledger -- --ignored --skip every_planted_bug
  PLANTS_ALL=1 tests --features payplane-ledger/plants --test ledger -- --ignored every_planted_bug
fi

# Other people's processes come and go on this machine; a cluster's may not stay:
# its programs, the lab's daemons, and what runs in its pods.
state() {
  lab snapshot | awk '!/^process / || /kube|etcd|containerd|runc|coredns|lab (daemon|internal)|pause|cnpg|\/controller\/manager|postgres|\/payplane/'
}
say "The local cluster leaves nothing behind"
before=$(mktemp) after=$(mktemp)
state >"$before"

say "The demo, twice, and its removal"
export DEMO_CLUSTER=$CLUSTER-demo
trap 'lab cluster down "$DEMO_CLUSTER" || true' EXIT
e2e/scripts/demo.sh
e2e/scripts/demo.sh
# Killed half-way, with everything of it running; the next one removes the rest.
timeout --signal=KILL 0.2 "$BIN/lab" cluster down "$DEMO_CLUSTER" >/dev/null && fail "the removal was to be killed half-way"
e2e/scripts/demo-down.sh
state >"$after"
diff -u "$before" "$after" || fail "the machine is not as it was before the demo"

say "A cluster with the product"
trap 'lab cluster down "$CLUSTER" || true' EXIT
e2e/scripts/cluster.sh

say "End-to-end suites ($form form)"
e2e/scripts/suites.sh "$form"

e2e/scripts/sources.sh remember

say "Teardown"
trap - EXIT
lab cluster down "$CLUSTER"
rm -rf "$PAYPLANE_STATE_DIR"
state >"$after"
diff -u "$before" "$after" || fail "the machine is not as it was before the cluster"
say "All passed"
