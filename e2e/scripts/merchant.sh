#!/usr/bin/env bash
# merchant.sh TENANT APP MERCHANT: registers a merchant and an app at a tenant,
# from the merchant's pod, with the tenant's two admin certificates: one applies for
# the merchant, the other approves it. Keys lie in the pod under /keys/TENANT.
set -euo pipefail
tenant=$1 app=$2 merchant=$3
kubectl() { "$KUBECTL" "$@"; }
in_pod() { kubectl exec -i -n merchants deploy/merchant -- /payplane "$@"; }
secret() { kubectl get secret "$1" -n "ptn-$tenant" -o "jsonpath={.data.${2/./\\.}}" | base64 -d; }
for file in tls.crt tls.key ca.crt; do secret admin-client "$file" | in_pod client store "/keys/$tenant/$file"; done
for file in tls.crt tls.key; do secret admin-checker "$file" | in_pod client store "/keys/$tenant/checker-$file"; done
gateway=(--gateway "https://gateway.ptn-$tenant.svc:9443" --ca "/keys/$tenant/ca.crt")
admin=("${gateway[@]}" --cert "/keys/$tenant/tls.crt" --cert-key "/keys/$tenant/tls.key")
checker=("${gateway[@]}" --cert "/keys/$tenant/checker-tls.crt" --cert-key "/keys/$tenant/checker-tls.key")
in_pod client keygen --key "/keys/$tenant/app.key" --public "/keys/$tenant/app.pub"
in_pod client register-merchant "${admin[@]}" --merchant "$merchant" --name "Merchant $merchant"
in_pod client registry approve merchant "$merchant" "${checker[@]}"
in_pod client register-app "${admin[@]}" --app "$app" --name "App $app" --key-id k1 --public "/keys/$tenant/app.pub" --merchant "$merchant"
