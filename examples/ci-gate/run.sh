#!/usr/bin/env bash
# A control failure in a pipeline, end to end: the build fails, a ticket names
# dependency, project and recommendation; an exception with a date to look again
# lets the build go on; without it the deployment stays blocked. Needs curl and
# node (to read JSON).
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../lib.sh"

# gate: what a pipeline runs after its scanner; its exit code decides.
gate() {
	local code=0
	casement gate --quiet --project acme/shop -o json "$here/trivy.json" >"$work/gate.json" 2>>"$work/gate.txt" || code=$?
	echo "$code"
}

step "Casement, a developer and an approver"
prepare
person dana responder
person marta approver
say "pages and API on http://$CASEMENT_SERVER_LISTEN"

step "The build: trivy has written its report, the gate judges it"
expect "the gate's exit code (4 is: policy blocks)" 4 "$(gate)"
expect "findings that block" 1 "$(field x.blocked <"$work/gate.json")"
expect "dependency" org.apache.logging.log4j:log4j-core "$(field x.results[0].package <"$work/gate.json")"
expect "project" acme/shop "$(field x.results[0].project <"$work/gate.json")"
expect "findings that only warn, as their class is low" 1 "$(field x.warned <"$work/gate.json")"
say "recommendation: $(field x.results[0].recommendation <"$work/gate.json")"
expect "the ticket" "tracker T-1" "$(field x.results[0].ticket <"$work/gate.json")"
expect "it names the dependency" org.apache.logging.log4j:log4j-core "$(ticket T-1 x.fields.dependency)"
expect "it names the project" acme/shop "$(ticket T-1 x.fields.project)"
expect "it names the recommendation" "raise to 2.15.0" "$(ticket T-1 x.fields.recommendation)"
expect "the build again: still blocked" 4 "$(gate)"
expect "and still one ticket" "tracker T-1 of 1" "$(field x.results[0].ticket <"$work/gate.json") of $(api /tickets | field 'x.tickets.length')"

step "The developer asks for time, until the day the dependency goes"
until=$(date -u -d '+14 days' +%F)
id=$(casement exception request --quiet --package org.apache.logging.log4j:log4j-core --project acme/shop --weakness CVE-2021-44228 \
	--until "$until" -m "log4j goes with the move to the new logger" --as dana --password env:PASSWORD -o json | field x.id)
expect "asking alone changes nothing: the build is blocked" 4 "$(gate)"
code=0
casement exception grant "$id" --yes --quiet --as dana --password env:PASSWORD >"$work/own.txt" 2>&1 || code=$?
expect "her granting it herself (6 is: not allowed)" 6 "$code"
casement exception grant "$id" --yes --quiet --as marta --password env:PASSWORD >/dev/null
expect "granted by somebody else (0 is: the build goes on)" 0 "$(gate)"
expect "findings that pass by the exception, and show" 1 "$(field x.excepted <"$work/gate.json")"
expect "to be looked at again on" "$until" "$(field 'x.results[0].exception.until.slice(0,10)' <"$work/gate.json")"

step "Without the exception the deployment stays blocked"
casement exception revoke "$id" --yes --quiet --as marta --password env:PASSWORD >/dev/null
expect "revoked: the build is blocked again" 4 "$(gate)"
printf '' >"$work/empty.json"
code=0
casement gate --quiet "$work/empty.json" 2>"$work/empty.txt" || code=$?
expect "a scanner that wrote nothing (1 is: not judged)" 1 "$code"
casement ledger verify --quiet | sed -n '1s/^/  /p'
step "Done: blocked, ticketed, excepted with a date, blocked again."
