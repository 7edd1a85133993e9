#!/usr/bin/env bash
# suites.sh short|full [FILTER...]: runs the suites that need a cluster, on the one that cluster.sh made.
. "$(dirname "$0")/lib.sh"
form=$1
shift
logs=$PAYPLANE_CACHE/logs/$CLUSTER
mkdir -p "$logs"
use_cluster "$CLUSTER"
export PAYPLANE_E2E_FORM=$form PAYPLANE_TAG=$TAG
if [ -z "${PAYPLANE_IMAGE_LOAD:-}" ]; then
  LAB_AUDIT_LOG=$(lab cluster audit "$CLUSTER")
  # On the lab nothing may be skipped.
  export LAB_AUDIT_LOG PAYPLANE_E2E_REQUIRED=1
fi
# Suites that only the long form has are ignored in the short one, and counted so.
[ "$form" = full ] && set -- --include-ignored "$@"
cargo test --release --locked --workspace --test cluster -- --test-threads=1 --nocapture "$@" 2>&1 | tee "$logs/cluster.log"
