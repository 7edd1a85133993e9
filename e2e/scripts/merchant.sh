#!/usr/bin/env bash
# merchant.sh TENANT APP MERCHANT: registers a merchant and an app at a tenant,
# from the merchant's pod, with the tenant's admin certificate. Keys lie in the
# pod under /keys/TENANT.
set -euo pipefail
tenant=$1 app=$2 merchant=$3
kubectl() { "$KUBECTL" "$@"; }
in_pod() { kubectl exec -i -n merchants deploy/merchant -- /payplane "$@"; }
secret() { kubectl get secret admin-client -n "ptn-$tenant" -o "jsonpath={.data.${1/./\\.}}" | base64 -d; }
for file in tls.crt tls.key ca.crt; do secret "$file" | in_pod client store "/keys/$tenant/$file"; done
admin=(--gateway "https://gateway.ptn-$tenant.svc:9443" --ca "/keys/$tenant/ca.crt" --cert "/keys/$tenant/tls.crt" --cert-key "/keys/$tenant/tls.key")
in_pod client keygen --key "/keys/$tenant/app.key" --public "/keys/$tenant/app.pub"
in_pod client register-merchant "${admin[@]}" --merchant "$merchant" --name "Merchant $merchant"
in_pod client register-app "${admin[@]}" --app "$app" --name "App $app" --key-id k1 --public "/keys/$tenant/app.pub"
