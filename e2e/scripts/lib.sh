# Shared by the scripts: names, the cluster's tools, installing the product.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${PAYPLANE_CACHE:?run this through make}"

# The images lie beside the programs that they were made of. Their tag follows from the content, so a
# cluster that runs an older build rolls over to the newer one.
BIN=$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/release
IMAGES=$CARGO_TARGET_DIR/images
TAG=$(cat "$IMAGES/tag" 2>/dev/null || true)
PRODUCT_IMAGES=("$IMAGES/payplane.tar" "$IMAGES/payplane-operator.tar")
# The cluster that the suites run on; another name lets two people work side by side.
CLUSTER=${CLUSTER:-e2e}
PAYPLANE_STATE_DIR=$PAYPLANE_CACHE/$CLUSTER

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() { echo "payplane: $*" >&2; exit 1; }

# copy_tree FOLDER: the tree as it is here, what is not committed too.
copy_tree() {
  rm -rf "$1"
  mkdir -p "$1"
  git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -cf - -T - | tar -xf - -C "$1"
}

# take_over_build FOLDER: a target folder for such a copy, which has this build's dependencies by hard links.
take_over_build() {
  # A folder of an earlier script, which still shares what cargo writes in place, is made anew.
  if [ -n "$(find "$1" -path '*/.fingerprint/*' -type f -links +1 -print -quit 2>/dev/null)" ]; then
    rm -rf "$1"
  fi
  if [ -d "$1" ]; then return; fi
  mkdir -p "$1"
  cp -al "$CARGO_TARGET_DIR/release" "$1/release"
  cp -al "$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu" "$1/x86_64-unknown-linux-gnu"
  rm -rf "$1"/*/incremental "$1"/*/*/incremental
  # Shared, a lock would keep one build waiting for the other.
  find "$1" -name .cargo-lock -delete
  # cargo writes these in place: shared, they would say of this build what is true of the copy's.
  local prints
  for prints in release/.fingerprint x86_64-unknown-linux-gnu/release/.fingerprint; do
    rm -rf "${1:?}/$prints"
    cp -a "$CARGO_TARGET_DIR/$prints" "$1/$prints"
  done
}

# use_cluster NAME: kubectl and helm speak to this lab cluster from here on; to the one of KUBECONFIG where
# PAYPLANE_IMAGE_LOAD says how a cluster that is not the lab's gets an image.
use_cluster() {
  if [ -n "${PAYPLANE_IMAGE_LOAD:-}" ]; then
    : "${KUBECONFIG:?PAYPLANE_IMAGE_LOAD is set, so KUBECONFIG must name the cluster}"
    : "${PAYPLANE_CLUSTER_CIDRS:?set it to the networks of the pods, Services and nodes of that cluster, comma-separated}"
    KUBECTL=${KUBECTL:-kubectl} HELM=${HELM:-helm}
    return
  fi
  LAB_CLUSTER=$1
  KUBECONFIG=$(lab cluster kubeconfig "$1")
  KUBECTL=$(lab programs --only kube | awk '{print $NF}')/kubectl
  HELM=$(lab programs --only helm | awk '{print $NF}')/helm
  # helm and kubectl keep caches in the home folder, which is not ours.
  HELM_CACHE_HOME=$PAYPLANE_CACHE/helm HELM_CONFIG_HOME=$HELM_CACHE_HOME HELM_DATA_HOME=$HELM_CACHE_HOME
  KUBECACHEDIR=$PAYPLANE_CACHE/kubectl
  export LAB_CLUSTER KUBECONFIG KUBECTL HELM HELM_CACHE_HOME HELM_CONFIG_HOME HELM_DATA_HOME KUBECACHEDIR
}
kubectl() { command "$KUBECTL" "$@"; }
helm() { command "$HELM" "$@"; }

# cluster_cidrs: the networks of pods, Services and nodes. The lab numbers them by cluster (docs/lab.md).
cluster_cidrs() {
  local number
  if [ -n "${PAYPLANE_CLUSTER_CIDRS:-}" ]; then echo "$PAYPLANE_CLUSTER_CIDRS"; return; fi
  number=$(sed -nE 's#.*server: "?https://10\.77\.([0-9]+)\..*#\1#p' "$KUBECONFIG")
  echo "10.$((100 + number)).0.0/16,10.$((120 + number)).0.0/16,10.77.$number.0/24"
}

# install_product: both charts, as a platform team installs them.
install_product() {
  kubectl apply --server-side -f e2e/simnet/payplane-system.yaml >/dev/null
  helm upgrade --install payplane-crds charts/payplane-crds --namespace payplane-system --wait >/dev/null
  helm upgrade --install payplane charts/payplane-operator --namespace payplane-system --wait --timeout 3m \
    --set image.registry=localhost --set image.tag="$TAG" \
    --set "clusterCidrs={$(cluster_cidrs)}" "$@" >/dev/null
}

# install_simnet: a payment network of strangers, and a merchant.
install_simnet() {
  local keys=$PAYPLANE_STATE_DIR/simnet
  mkdir -p "$keys"
  payplane simulator init --dir "$keys" --dns simulator.simnet.svc --dns simulator.simnet.svc.cluster.local >/dev/null
  kubectl apply --server-side -f e2e/simnet/namespaces.yaml >/dev/null
  kubectl -n simnet create secret generic simulator-keys --from-file="$keys/network" --dry-run=client -o yaml | kubectl apply --server-side -f - >/dev/null
  kubectl -n simnet create secret generic merchant-credentials --from-file="$keys/merchant" --dry-run=client -o yaml | kubectl apply --server-side -f - >/dev/null
  local network
  for network in wechat alipay unionpay bankdirect; do
    kubectl -n simnet create secret generic "$network-credentials" --from-file="$keys/$network" --dry-run=client -o yaml | kubectl apply --server-side -f - >/dev/null
  done
  # Whom the network believes when it notifies: nobody yet.
  kubectl -n simnet create configmap notify-ca --from-file="$keys/merchant/ca.crt" --dry-run=client -o yaml | kubectl apply --server-side --force-conflicts -f - >/dev/null
  local manifest
  for manifest in simulator merchant; do
    sed "s#localhost/payplane:dev#localhost/payplane:$TAG#" "e2e/simnet/$manifest.yaml" | kubectl apply --server-side -f - >/dev/null
  done
  kubectl -n simnet rollout status deploy/simulator --timeout=120s >/dev/null
  kubectl -n merchants rollout status deploy/merchant --timeout=120s >/dev/null
}
