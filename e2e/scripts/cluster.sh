#!/usr/bin/env bash
# A local cluster with the product, a payment network and a merchant, for the suites: made, or brought up to date.
. "$(dirname "$0")/lib.sh"
nodes=${NODES:-4}
if [ -n "${PAYPLANE_IMAGE_LOAD:-}" ]; then
  use_cluster "$CLUSTER"
  for archive in "${PRODUCT_IMAGES[@]}"; do $PAYPLANE_IMAGE_LOAD "$archive"; done
  install_product
  install_simnet
  exit
fi
lab cluster up "$CLUSTER" --nodes "$nodes" --cap-crash-backoff
use_cluster "$CLUSTER"
# Of four nodes the last is spared by faults: the payment network and the load's record are outside of what is tested.
if [ "$nodes" -ge 4 ]; then
  kubectl label node "$CLUSTER-n4" e2e.payplane.io/spared=true --overwrite >/dev/null
  kubectl taint node "$CLUSTER-n4" e2e.payplane.io/spared=true:NoSchedule --overwrite >/dev/null
fi
lab cluster load "$CLUSTER" "${PRODUCT_IMAGES[@]}"
install_product
install_simnet
