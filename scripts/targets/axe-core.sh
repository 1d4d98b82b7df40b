#!/bin/sh
# Fetches axe-core from npm once per version, checks it, and prints the path of
# axe.min.js. It is MPL-2.0 and for tests only: nothing of it is in the binary
# or the repository. CASEMENT_CACHE moves the cache (default ~/.cache/casement).
set -eu
version=4.14.1
integrity=sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==
dir="${CASEMENT_CACHE:-$HOME/.cache/casement}/targets/axe-core-$version"
if [ ! -f "$dir/axe.min.js" ]; then
	command -v npm >/dev/null || { echo "npm is not installed (Debian: npm)" >&2; exit 1; }
	mkdir -p "$dir"
	tmp=$(mktemp -d "$dir/fetch.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	(cd "$tmp" && npm pack --silent "axe-core@$version" >/dev/null)
	got=sha512-$(openssl dgst -sha512 -binary "$tmp/axe-core-$version.tgz" | base64 -w0)
	[ "$got" = "$integrity" ] || { echo "axe-core $version is not what it was: $got" >&2; exit 1; }
	tar -xzf "$tmp/axe-core-$version.tgz" -C "$tmp" package/axe.min.js
	mv "$tmp/package/axe.min.js" "$dir/axe.min.js"
fi
echo "$dir/axe.min.js"
