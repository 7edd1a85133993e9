#!/usr/bin/env bash
CLUSTER=${DEMO_CLUSTER:-demo}
. "$(dirname "$0")/lib.sh"
lab cluster down "$CLUSTER"
rm -rf "$PAYPLANE_STATE_DIR"
