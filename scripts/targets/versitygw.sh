#!/bin/sh
# Builds versitygw, an Apache-2.0 S3 server, once per version and prints the
# path of the binary. The tests of the s3 connector run against it.
# CASEMENT_CACHE moves the cache (default ~/.cache/casement).
set -eu
version=v1.8.0
dir="${CASEMENT_CACHE:-$HOME/.cache/casement}/targets/versitygw-$version"
if [ ! -x "$dir/versitygw" ]; then
	mkdir -p "$dir"
	tmp=$(mktemp -d "$dir/build.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	# Outside this module, so that its go.mod stays as it is.
	cd "$tmp"
	GOBIN="$tmp" GOFLAGS= CGO_ENABLED=0 go install -trimpath -ldflags=-s "github.com/versity/versitygw/cmd/versitygw@$version" >&2
	mv "$tmp/versitygw" "$dir/versitygw"
fi
echo "$dir/versitygw"
