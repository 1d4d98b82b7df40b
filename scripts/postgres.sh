#!/bin/sh
# usage: scripts/postgres.sh COMMAND [ARGUMENT…]
# Runs a command beside a PostgreSQL of its own (Debian's package, a free port,
# fsync on, not as root), whose URL is in DATABASE_URL. Its data is removed at the end.
set -eu
[ $# -gt 0 ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$bin" ] || { echo "PostgreSQL is not here: scripts/setup.sh installs it" >&2; exit 1; }
dir=$(mktemp -d "${PG_DIR:-/tmp}/casement-pg.XXXXXX")
as=
if [ "$(id -u)" = 0 ]; then chown nobody: "$dir"; as="setpriv --reuid=nobody --regid=nogroup --clear-groups"; fi
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
trap 'cd /; $as "$bin/pg_ctl" -D "$dir/data" -m immediate -s stop || true; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
home=$PWD
cd "$dir"
$as "$bin/initdb" -D data -U casement -A trust -E UTF8 --no-locale >/dev/null
$as "$bin/pg_ctl" -D "$dir/data" -w -s -l "$dir/log" \
	-o "-h 127.0.0.1 -p $port -c unix_socket_directories= -c max_connections=300 -c fsync=on -c shared_buffers=${PG_BUFFERS:-128MB}" start
cd "$home"
DATABASE_URL="postgres://casement@127.0.0.1:$port/postgres?sslmode=disable" "$@"
