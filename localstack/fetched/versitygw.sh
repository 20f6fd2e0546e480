#!/bin/bash
# A real S3 server, built with Go: versitygw on a folder whose file system has extended attributes, on 127.0.0.1. `up` prints the
# environment variables of the tests; `down` stops it and keeps its data, `down --wipe` removes the data too.
set -euo pipefail
cd "$(dirname "$0")/../.."
NAME="versitygw"
ROOT=$(realpath -m "${CAIRN_VERSITYGW_DIR:-cairn-data/localstack-versitygw}")
ACCESS_KEY=cairn-dev SECRET_KEY=cairn-dev-secret BUCKET=cairn-dev FIRST_PORT=19200
source localstack/server.sh
source localstack/fetched/fetch.sh

fetch() { go_program versitygw github.com/versity/versitygw/cmd/versitygw v1.8.0; }

start() {
  export ROOT_ACCESS_KEY=$ACCESS_KEY ROOT_SECRET_KEY=$SECRET_KEY
  launch server "$PROGRAM" --quiet --port "127.0.0.1:$PORT" --health /health posix "$ROOT/data"
}

answers() { curl -sf -o /dev/null -m 2 "http://127.0.0.1:$PORT/health"; }

main "$@"
