#!/usr/bin/env bash
# The race detector over our own code. Left out: the readers (pure, many, no
# goroutine) and whatever links the pure-Go SQL driver, which it slows beyond use.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=1
mapfile -t packages < <(go list -test -f '{{.ImportPath}} {{join .Deps " "}}' ./internal/... |
	awk '$1 !~ /\.test$|_test$|\[|\/format/ { p[$1]=1 } / modernc.org\/sqlite( |$)/ { sub(/ .*/, ""); sub(/(_test)?(\.test)?$/, "", $1); no[$1]=1 } END { for (x in p) if (!(x in no)) print x }' | sort)
echo "race detector over ${#packages[@]} packages"
go test -race -shuffle=on -timeout 15m "${packages[@]}"
