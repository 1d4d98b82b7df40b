#!/bin/sh
# Builds the Kubernetes API server (about 500 CPU-seconds, 2.4 GiB). Its module
# has replace lines, so "go install" refuses it: a throw-away module requires
# it and repeats them.
set -eu
mode=${1:-} version=v1.37.2
. "$(dirname "$0")/lib.sh"
target kube-apiserver "$version"
staging="v0.${version#v1.}"
mod=$(GOFLAGS= go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/^.*"GoMod": "\(.*\)",*$/\1/p')
{
	echo "module example.invalid/target"
	echo "go 1.26.0"
	echo "godebug default=go1.26"
	echo "require k8s.io/kubernetes $version"
	sed -n "s|^[[:space:]]*\(k8s.io/[a-z0-9-]*\) => ./staging/.*|replace \1 => \1 $staging|p" "$mod"
} >go.mod
cat >tools.go <<'GO'
package target

import _ "k8s.io/kubernetes/cmd/kube-apiserver/app"
GO
GOFLAGS= go mod tidy >&2
GOFLAGS="${TARGET_GOFLAGS:-}" CGO_ENABLED=0 go build -trimpath -ldflags=-s -o kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver >&2
done_target
