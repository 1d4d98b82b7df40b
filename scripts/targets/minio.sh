#!/bin/sh
# Builds MinIO (about 260 CPU-seconds): the S3 server whose control plane says
# "not public" of a bucket that everybody reads, and whose users are the leaked
# access keys of the tests. AGPL-3.0: it runs as a process of its own and
# nothing of it is linked.
set -eu
mode=${1:-} version=v0.0.0-20260212201848-7aac2a2c5b7c
. "$(dirname "$0")/lib.sh"
target minio "$version"
GOBIN="$tmp" GOFLAGS="${TARGET_GOFLAGS:-}" CGO_ENABLED=0 go install -trimpath -ldflags=-s "github.com/minio/minio@$version" >&2
done_target
