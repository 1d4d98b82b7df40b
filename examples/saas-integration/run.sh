#!/usr/bin/env bash
# A SaaS integration risk, end to end at a real OAuth server (node-oidc-provider):
# the scope is lowered at once, business goes on, the application's owner gets a
# ticket, and the trail is kept. Needs node, npm and curl.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../lib.sh"

step "An OAuth server, and an integration that was granted too much"
dir=$("$root/scripts/targets/oidc-provider.sh")
oauth=127.0.0.1:$(port)
export CASEMENT_OIDC_SECRET=example-$RANDOM CASEMENT_OIDC_ADMIN=example-admin-$RANDOM
node "$root/scripts/targets/oidc-provider/server.mjs" "$dir" "$oauth" "$work/oauth.log" >"$work/oauth.out" 2>&1 &
pids+=($!)
until_ok "the OAuth server" 20 curl -fs "http://$oauth/.well-known/openid-configuration"
CRM_SYNC_TOKEN=$(curl -fs -u crm-sync:crm-sync-own-secret -d grant_type=client_credentials \
	-d scope="contacts.read files.all mail.readwrite" "http://$oauth/token" | field x.access_token)
export CRM_SYNC_TOKEN
introspect() { curl -fs -u "casement:$CASEMENT_OIDC_SECRET" -d "token=$CRM_SYNC_TOKEN" "http://$oauth/token/introspection"; }
can() { curl -s -o "$work/can.json" -w '%{http_code}' -H "Authorization: Bearer $CRM_SYNC_TOKEN" "http://$oauth/resource?scope=$1"; }
expect "before: the token reads contacts" 200 "$(can contacts.read)"
expect "before: the token writes mail" 200 "$(can mail.readwrite)"

step "Casement, with the integration's needs in its configuration"
grant=$(printf %s "$CRM_SYNC_TOKEN" | sha256sum | cut -c1-32)
mkdir "$work/config"
cp -r "$here/policy" "$here/owners.yaml" "$work/config/"
sed -e "s|oauth.localhost|$oauth|; s|GRANT|$grant|" "$here/casement.yaml" >"$work/config/casement.yaml"
alerts=$here
here=$work/config
prepare
say "pages and API on http://$CASEMENT_SERVER_LISTEN"

step "The alert comes in"
casement ingest --quiet "$alerts/alert.json" >/dev/null
case=$(the_case)
say "case $case"
until_ok "the closed case" 60 in_state "$case" closed

step "What is true now, asked of the OAuth server and not of Casement"
expect "after: the token's scope" contacts.read "$(introspect | field x.scope)"
expect "after: the token writes mail" 403 "$(can mail.readwrite)"
expect "business goes on: the token reads contacts" 200 "$(can contacts.read)"
expect "changes in the server's own log, with this case" 1 "$(grep -c "changed .*$case" "$work/oauth.log")"

step "What is kept"
expect "closed how" proven "$(casement case show "$case" -o json | field x.case.closed)"
expect "owner of the application" kim "$(casement case show "$case" -o json | field 'x.owner')"
expect "the ticket is for" kim "$(ticket T-1 x.assignee)"
told() { ticket T-1 'x.comments.at(-1).text.match(/proven/)[0]'; }
until_ok "the word on the ticket" 20 told
expect "the last word on the ticket" proven "$(told)"
casement case timeline "$case" | sed 's/^/  /'
casement ledger verify | sed 's/^/  /'
step "Done: lowered at once, proven, nothing broke."
