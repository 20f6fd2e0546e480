#!/bin/bash
# A real S3 server, built with Go: MinIO on one folder, on 127.0.0.1, with a key for encryption with KMS. `up` prints the environment
# variables of the tests; `down` stops it and keeps its data, `down --wipe` removes the data too.
set -euo pipefail
cd "$(dirname "$0")/../.."
NAME="MinIO"
ROOT=$(realpath -m "${CAIRN_MINIO_DIR:-cairn-data/localstack-minio}")
ACCESS_KEY=cairn-dev SECRET_KEY=cairn-dev-secret BUCKET=cairn-dev FIRST_PORT=19000
source localstack/server.sh
source localstack/fetched/fetch.sh

fetch() { go_program minio github.com/minio/minio v0.0.0-20260212201848-7aac2a2c5b7c; }

start() {
  export MINIO_ROOT_USER=$ACCESS_KEY MINIO_ROOT_PASSWORD=$SECRET_KEY MINIO_BROWSER=off MINIO_UPDATE=off
  export MINIO_KMS_SECRET_KEY=cairn-dev:Y2Fpcm4tZGV2LWNhaXJuLWRldi1jYWlybi1kZXYtMDA=
  launch server "$PROGRAM" server --quiet --address "127.0.0.1:$PORT" "$ROOT/data"
}

answers() { curl -sf -o /dev/null -m 2 "http://127.0.0.1:$PORT/minio/health/ready"; }

main "$@"
