#!/bin/sh
# Installs node-oidc-provider (MIT) once per version, from the versions in its
# lock file, and prints the folder. The tests of the oauth connector start
# oidc-provider/server.mjs with it. CASEMENT_CACHE moves the cache (default
# ~/.cache/casement).
set -eu
version=9.13.3
here=$(cd "$(dirname "$0")/oidc-provider" && pwd)
dir="${CASEMENT_CACHE:-$HOME/.cache/casement}/targets/oidc-provider-$version"
command -v node >/dev/null || { echo "node is not installed (Debian: nodejs npm)" >&2; exit 1; }
if [ ! -d "$dir/node_modules/oidc-provider" ]; then
	mkdir -p "$(dirname "$dir")"
	tmp=$(mktemp -d "$dir.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	cp "$here/package.json" "$here/package-lock.json" "$tmp/"
	npm ci --prefix "$tmp" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
	rm -rf "$dir"
	mv "$tmp" "$dir"
fi
echo "$dir"
