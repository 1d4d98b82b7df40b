#!/usr/bin/env bash
# Installs what the tests need, by package name through the ordinary clients:
# Chromium for the pages and the small real servers from Debian, versitygw as a
# Go program for S3, oidc-provider from npm for OAuth. "make targets" builds the
# dear ones.
set -euo pipefail
cd "$(dirname "$0")/.."

need() { # program, Debian package
	command -v "$1" >/dev/null && return 0
	missing+=("$2")
}
missing=()
need chromium chromium
need gcc gcc
need nft nftables
need ip iproute2
need etcd etcd-server
need node nodejs
need npm npm
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
if [ ${#missing[@]} -gt 0 ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing ${missing[*]} from Debian" >&2
		apt-get -qq update >&2
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
	else
		echo "not installed: ${missing[*]} (run as root on Debian, or install by hand); tests that need them are skipped and counted" >&2
	fi
fi
scripts/targets/versitygw.sh >/dev/null
if command -v npm >/dev/null; then
	scripts/targets/oidc-provider.sh >/dev/null
fi
