#!/bin/sh
# Reads the real reports of ../shared/corpus and prints, per file and in sum,
# what was read against what the sources state. Fails below the bars: counts
# all, severities 95 %, fields 98 %.
# usage: scripts/corpus.sh [-v]   (-v: a line per file)
set -eu
cd "$(dirname "$0")/.."
[ -e ../shared/corpus/manifest.json ] || { echo "SKIPPED: ../shared/corpus is not there"; exit 0; }
filter='kept|^ok|FAIL|panic|:[0-9]*: (files|counts)|   field |differs|want'
out=$(mktemp)
trap 'rm -f "$out"' EXIT
status=0
CGO_ENABLED=0 go test ./internal/format/all -run '^TestCorpus' -count 1 -v >"$out" 2>&1 || status=$?
[ "${1:-}" = -v ] || filter='^ok|FAIL|panic|:[0-9]*: (files|counts)|   field |differs'
grep -E "$filter" "$out" | sed 's/^ *[a-z_]*_test.go:[0-9]*: //'
exit "$status"
