#!/bin/sh
# Installs Ceph from Debian (about 450 MB on disk, two minutes) and prints the
# path of its RADOS Gateway: the S3 server that has a public access block. With
# --cached it installs nothing and ends with 3 when a program is missing. The
# tests start a cluster of one node by hand; no service is set up.
set -eu
mode=${1:-}
look() {
	missing=
	for p in ceph-mon ceph-osd radosgw radosgw-admin ceph; do
		command -v "$p" >/dev/null || missing="$missing $p"
	done
}
look
if [ -n "$missing" ] && [ "$mode" = --cached ]; then
	echo "Ceph is not installed (missing:$missing): make targets installs it" >&2
	exit 3
fi
if [ -n "$missing" ]; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "Ceph is not installed (missing:$missing): run as root on Debian, or install ceph-mon, ceph-osd, radosgw and ceph-common by hand" >&2
		exit 1
	fi
	echo "installing ceph-mon, ceph-osd, radosgw and ceph-common from Debian" >&2
	apt-get -qq update >&2
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends ceph-mon ceph-osd radosgw ceph-common >/dev/null
	look
	[ -z "$missing" ] || { echo "still missing:$missing" >&2; exit 1; }
fi
command -v radosgw
