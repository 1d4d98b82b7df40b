#!/usr/bin/env bash
# Measures the time from an empty folder to the first case, build not counted:
# serve without configuration, ingest a file, list. Fails above 60 s.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
bin=$top/bin/casement
[ -x "$bin" ] || make -C "$top" build
dir=$(mktemp -d)
cd "$dir"
start=$(date +%s%N)
"$bin" serve --listen 127.0.0.1:0 2>serve.log &
pid=$!
trap 'kill $pid; wait $pid || true; rm -rf "$dir"' EXIT
until [ -e casement-data/server.json ]; do kill -0 $pid && sleep 0.05; done
"$bin" ingest -q "${1:-$top/examples/alerts/sample.jsonl}"
"$bin" case list -q | sed -n 1,4p # reads all: head would end the list by SIGPIPE
ms=$((($(date +%s%N) - start) / 1000000))
echo "first case after $ms ms" >&2
[ $ms -le 60000 ]
