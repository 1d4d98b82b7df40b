#!/bin/sh
# Builds Gitea (about 320 CPU-seconds, needs gcc): a forge whose branch
# protection takes our gate as a required check. v1.26.0 is the newest whose
# module path resolves. The module has replace lines, see kube-apiserver.sh.
# The templates, options and public files it serves are copied beside it.
set -eu
mode=${1:-} version=v1.26.0
. "$(dirname "$0")/lib.sh"
target gitea "$version"
info=$(GOFLAGS= go mod download -json "code.gitea.io/gitea@$version")
mod=$(echo "$info" | sed -n 's/^.*"GoMod": "\(.*\)",*$/\1/p')
src=$(echo "$info" | sed -n 's/^.*"Dir": "\(.*\)",*$/\1/p')
{
	echo "module example.invalid/target"
	sed -n '/^go /p' "$mod"
	echo "require code.gitea.io/gitea $version"
	sed -n '/^replace (/,/^)/p; /^replace [^(]/p' "$mod"
} >go.mod
GOFLAGS="${TARGET_GOFLAGS:-}" CGO_ENABLED=1 go build -mod=mod -tags sqlite,sqlite_unlock_notify -trimpath -ldflags=-s -o gitea code.gitea.io/gitea >&2
rm -rf "$dir/static"
mkdir "$dir/static"
cp -r "$src/templates" "$src/options" "$src/public" "$dir/static/"
chmod -R u+w "$dir/static"
done_target
