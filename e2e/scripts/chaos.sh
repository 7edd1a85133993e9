#!/usr/bin/env bash
# chaos.sh: faults around a ledger of three database instances, on a cluster of its own, until the result counts
# (EACH faults of each kind that met requests in flight).
export CLUSTER=${CLUSTER:-chaos}
. "$(dirname "$0")/lib.sh"
trap 'lab cluster down "$CLUSTER"' EXIT
e2e/scripts/cluster.sh
PAYPLANE_CHAOS_EACH=${EACH:-15} e2e/scripts/suites.sh short s02_production_chaos
