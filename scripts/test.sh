#!/usr/bin/env bash
# Runs the tests and says in one last line how many ran and what was skipped,
# and why. With CASEMENT_FULL=1 a skip is a failure. Arguments are go test's.
set -uo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
go run gotest.tools/gotestsum@v1.13.0 --format pkgname-and-test-fails --hide-summary=output,skipped --jsonfile "$log" -- "$@"
code=$?
go run tools/skipped/main.go "$log" || code=1
exit $code
