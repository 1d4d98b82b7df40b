#!/bin/sh
# Builds versitygw, an Apache-2.0 S3 server (about 80 CPU-seconds). The tests
# of the s3 connector run against it.
set -eu
mode=${1:-} version=v1.8.0
. "$(dirname "$0")/lib.sh"
target versitygw "$version"
GOBIN="$tmp" GOFLAGS= CGO_ENABLED=0 go install -trimpath -ldflags=-s "github.com/versity/versitygw/cmd/versitygw@$version" >&2
done_target
