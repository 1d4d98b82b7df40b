#!/usr/bin/env bash
# gofmt, vet, staticcheck, go.mod tidy, and generated files that must be fresh.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
bad=0
fmt=$(gofmt -l cmd internal)
if [ -n "$fmt" ]; then echo "gofmt would change:"; echo "$fmt"; bad=1; fi
go vet ./... || bad=1
go vet -tags mutants ./internal/remedy/mutants ./internal/simulation/mutants || bad=1
go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./... || bad=1
go mod tidy -diff || { echo "go.mod is not tidy: run go mod tidy"; bad=1; }
list=$(go list -deps -f '{{with .Module}}{{.Path}} {{.Version}}{{end}}' ./cmd/casement | LC_ALL=C sort -u | sed '/^$/d;/^github.com\/casement\/casement /d')
if ! diff <(echo "$list") docs/dependencies.txt; then
	echo "the modules linked into the binary changed: review them, then run make deps"; bad=1
fi
exit $bad
