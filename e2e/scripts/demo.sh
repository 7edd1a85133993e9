#!/usr/bin/env bash
# From nothing to a receipt and a balanced trial balance.
CLUSTER=${DEMO_CLUSTER:-demo}
. "$(dirname "$0")/lib.sh"
start=$SECONDS

say "A Kubernetes cluster on this machine"
lab cluster up "$CLUSTER" --nodes 1
use_cluster "$CLUSTER"
lab cluster load "$CLUSTER" "${PRODUCT_IMAGES[@]}"
install_product
say "A payment network of strangers, and a merchant"
install_simnet

say "kubectl apply -f crds/samples/demo.yaml"
kubectl apply --server-side --force-conflicts -f crds/samples/demo.yaml
kubectl wait --for=create namespace/ptn-demo --timeout=60s >/dev/null
kubectl -n ptn-demo create secret generic simulator-credentials --type=payplane.io/channel-credentials \
  --from-file="$PAYPLANE_STATE_DIR/simnet/merchant" --dry-run=client -o yaml | kubectl apply --server-side -f - >/dev/null
kubectl apply --server-side --force-conflicts -f crds/samples/demo-channel.yaml
kubectl wait --for=condition=Ready ptn/demo --timeout=300s
kubectl wait --for=condition=Ready pch/sim -n ptn-demo --timeout=60s

say "A merchant and its app are registered, the merchant is paid, a part is refunded"
e2e/scripts/merchant.sh demo app1 M1
client() { kubectl exec -n merchants deploy/merchant -- /payplane client "$@"; }
as_app=(--gateway https://gateway.ptn-demo.svc:8443 --ca /keys/demo/ca.crt --app app1 --key /keys/demo/app.key --key-id k1)
order=demo-$(date +%s) today=$(TZ=Asia/Shanghai date +%F)
succeeds() { client "$@" | tee "$PAYPLANE_STATE_DIR/receipt"; grep -qE "^Status +Succeeded" "$PAYPLANE_STATE_DIR/receipt" || fail "not succeeded"; }
succeeds pay "${as_app[@]}" --order-number "$order" --merchant M1 --method card --amount-minor 12800 --currency CNY
succeeds refund "${as_app[@]}" --order-date "$today" --order-number "$order" --refund-number R1 --amount-minor 2800

say "The books, read from PostgreSQL"
fold="select code as account, currency, coalesce(sum(amount_minor) filter (where side = 'debit'), 0) as debit_minor,
  coalesce(sum(amount_minor) filter (where side = 'credit'), 0) as credit_minor
  from ledger.entries join ledger.accounts using (account_id) where not reserved group by 1, 2"
balance="select currency, sum(debit_minor) as debits, sum(credit_minor) as credits, sum(debit_minor) = sum(credit_minor) as balanced
  from ($fold) as trial_balance group by 1"
books() { kubectl exec -n ptn-demo database-1 -c postgres -- psql -d payplane -Xq "$@"; }
books -c "$fold order by 1" -c "$balance"
[ "$(books -At -c "select bool_and(balanced) from ($balance) as all_of_it")" = t ] || fail "the books do not balance"
say "kubectl get ptn,pch -A"
kubectl get ptn,pch -A
echo
echo "Done in $((SECONDS - start)) s. Look around with: export KUBECONFIG=$KUBECONFIG; remove everything with: make demo-down"
