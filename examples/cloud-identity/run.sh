#!/usr/bin/env bash
# A cloud identity exposure, end to end at a real Kubernetes API server: a
# service account with too many permissions behind a public application. The
# production workload is looked up, its application tagged, a ticket opened, the
# owner told; she approves the plan she is shown; the permission goes, the calls
# the workload needs go on, the evidence stays with the case.
# Needs node, curl, openssl, etcd (Debian: etcd-server) and a built API server
# (make targets).
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../lib.sh"

step "A cluster with a checkout service whose identity may read every secret"
apiserver=$("$root/scripts/targets/kube-apiserver.sh" --cached)
store=$(port)
peer=$(port)
kubernetes=127.0.0.1:$(port)
etcd --data-dir "$work/etcd" --unsafe-no-fsync --log-level error --listen-client-urls "http://127.0.0.1:$store" --advertise-client-urls "http://127.0.0.1:$store" \
	--listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" --initial-cluster "default=http://127.0.0.1:$peer" >"$work/etcd.log" 2>&1 &
pids+=($!)
openssl ecparam -name prime256v1 -genkey -noout -out "$work/sa.key"
openssl ec -in "$work/sa.key" -pubout -out "$work/sa.pub" 2>/dev/null
export ADMIN_TOKEN=admin-$RANDOM$RANDOM CASEMENT_KUBERNETES_TOKEN=casement-$RANDOM$RANDOM CHECKOUT_TOKEN=checkout-$RANDOM$RANDOM
cat >"$work/tokens.csv" <<T
$ADMIN_TOKEN,admin,1,"system:masters"
$CASEMENT_KUBERNETES_TOKEN,casement,2
$CHECKOUT_TOKEN,system:serviceaccount:shop:checkout,3,"system:serviceaccounts,system:serviceaccounts:shop"
T
printf 'apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Metadata\n  verbs: [create, update, patch, delete]\n' >"$work/audit.yaml"
"$apiserver" --etcd-servers="http://127.0.0.1:$store" --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="${kubernetes#*:}" --cert-dir="$work/certs" \
	--service-account-issuer=https://127.0.0.1 --service-account-key-file="$work/sa.pub" --service-account-signing-key-file="$work/sa.key" --token-auth-file="$work/tokens.csv" \
	--authorization-mode=RBAC --service-cluster-ip-range=10.0.0.0/24 --disable-admission-plugins=ServiceAccount --endpoint-reconciler-type=none \
	--audit-policy-file="$work/audit.yaml" --audit-log-path="$work/audit.log" --audit-log-mode=blocking-strict >"$work/kubernetes.log" 2>&1 &
pids+=($!)
# call TOKEN METHOD PATH [BODY]: the status; the answer is in $work/answer.
call() { curl -s --cacert "$work/certs/apiserver.crt" -o "$work/answer" -w '%{http_code}' -X "$2" -H "Authorization: Bearer $1" -H 'Content-Type: application/json' "https://$kubernetes$3" ${4:+-d "$4"}; }
ready() { [ "$(call "$ADMIN_TOKEN" GET /readyz)" = 200 ]; }
until_ok "the API server" 60 ready
make() {
	local code
	code=$(call "$ADMIN_TOKEN" POST "$1" "$2")
	[ "$code" = 201 ] || fail "making $1: $code $(cat "$work/answer")"
}
rbac=/apis/rbac.authorization.k8s.io/v1
role() { make $rbac/clusterroles "{\"metadata\":{\"name\":\"$1\"},\"rules\":$2}"; }
bind() { make $rbac/clusterrolebindings "{\"metadata\":{\"name\":\"$1\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"$2\"},\"subjects\":[$3]}"; }
make /api/v1/namespaces '{"metadata":{"name":"shop"}}'
role reads-config '[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get","list"]}]'
role reads-secrets '[{"apiGroups":[""],"resources":["secrets"],"verbs":["get","list"]}]'
# Casement's own rights: what `casement connectors kubernetes` says it needs.
role casement '[{"apiGroups":["rbac.authorization.k8s.io"],"resources":["rolebindings","clusterrolebindings"],"verbs":["get","patch"]},{"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles"],"verbs":["bind"]},{"apiGroups":["authorization.k8s.io"],"resources":["subjectaccessreviews"],"verbs":["create"]}]'
bind casement casement '{"kind":"User","name":"casement"}'
account='{"kind":"ServiceAccount","namespace":"shop","name":"checkout"}'
bind checkout-config reads-config "$account"
bind checkout-secrets reads-secrets "$account"
make /apis/apps/v1/namespaces/shop/deployments '{"metadata":{"name":"checkout","labels":{"app":"checkout","environment":"production","tier":"public","owner":"olga"}},"spec":{"selector":{"matchLabels":{"app":"checkout"}},"template":{"metadata":{"labels":{"app":"checkout"}},"spec":{"serviceAccountName":"checkout","containers":[{"name":"c","image":"example.invalid/checkout:1"}]}}}}'
secrets() { call "$CHECKOUT_TOKEN" GET /api/v1/namespaces/shop/secrets; }
config() { call "$CHECKOUT_TOKEN" GET /api/v1/namespaces/shop/configmaps; }
expect "before: checkout reads secrets" 200 "$(secrets)"
expect "before: checkout reads its configuration" 200 "$(config)"

step "Casement, its owner and a channel"
chat=$(port)
export CASEMENT_CHAT_URL=http://127.0.0.1:$chat/services/T0/B0/example
node "$here/sink.mjs" "$chat" "$work/chat.jsonl" &
pids+=($!)
mkdir "$work/config"
cp -r "$here/policy" "$here/owners.yaml" "$work/config/"
cp "$work/certs/apiserver.crt" "$work/config/ca.crt"
sed -e "s|kubernetes.localhost|$kubernetes|" "$here/casement.yaml" >"$work/config/casement.yaml"
scan=$here/scan.mjs
here=$work/config
prepare
person olga approver
say "pages and API on http://$CASEMENT_SERVER_LISTEN"

step "A scan finds the binding, looks up the workload, and tags the application"
NODE_EXTRA_CA_CERTS=$work/certs/apiserver.crt node "$scan" "https://$kubernetes" checkout-secrets >"$work/alert.json"
casement ingest --quiet "$work/alert.json" >/dev/null
case=$(the_case)
until_ok "the question to the owner" 30 in_state "$case" approval
casement case show "$case" -o json >"$work/case.json"
expect "application, tagged on the case" checkout "$(field x.case.asset.app <"$work/case.json")"
expect "environment of the workload" production "$(field x.case.asset.environment <"$work/case.json")"
expect "owner" olga "$(casement case show "$case" -o json | field x.owner)"
told() { grep -q "What will change" "$work/chat.jsonl"; }
until_ok "the message to the owner" 20 told
say "told in the channel: $(tail -1 "$work/chat.jsonl" | field 'x.blocks[1].text.text.split("\n").slice(1,3).join(" / ")')"
ticketed() { [ "$(casement case show "$case" -o json | field 'x.case.tickets[0].ref')" = T-1 ]; }
until_ok "the ticket" 20 ticketed
expect "ticket T-1, for the application" checkout "$(ticket T-1 x.fields.application)"
expect "the workload looked up, as the ticket names it" Deployment/shop/checkout "$(ticket T-1 'x.body.match(/Deployment\/[a-z\/]+/)[0]')"
expect "nothing was changed yet: checkout reads secrets" 200 "$(secrets)"

step "The owner looks at the plan and approves exactly it"
action=$(casement --quiet approval list -o json | field x[0].action)
casement approval show "$case" "$action" --quiet | sed 's/^/  /'
casement approval approve "$case" "$action" --yes --quiet --as olga --password env:PASSWORD >/dev/null
until_ok "the closed case" 60 in_state "$case" closed

step "What is true now, asked of the cluster and not of Casement"
expect "after: checkout reads secrets" 403 "$(secrets)"
expect "the calls it needs: checkout reads its configuration" 200 "$(config)"
expect "changes in the cluster's audit log, with this case" 1 "$(grep "\"verb\":\"patch\"" "$work/audit.log" | grep -v dryRun | grep -c "$case")"

step "The evidence, attached to the case"
expect "closed how" proven "$(casement case show "$case" -o json | field x.case.closed)"
casement case timeline "$case" | sed 's/^/  /'
casement ledger verify | sed -n '1s/^/  /p'
step "Done: looked up, asked, removed, proven, nothing broke."
