#!/bin/bash
# The S3 of moto, a Python library that simulates Amazon's services for tests, as a server on 127.0.0.1, installed with pip into its own
# environment. It checks no signatures and keeps everything in memory. `up` prints the environment variables of the tests; `down` stops it.
set -euo pipefail
cd "$(dirname "$0")/../.."
NAME="moto"
ROOT=$(realpath -m "${CAIRN_MOTO_DIR:-cairn-data/localstack-moto}")
ACCESS_KEY=cairn-dev SECRET_KEY=cairn-dev-secret BUCKET=cairn-dev FIRST_PORT=19600
source localstack/server.sh
source localstack/fetched/fetch.sh

fetch() { python_packages moto 5.2.5 "moto[server,s3]==5.2.5"; }

start() { launch server "$VENV/bin/moto_server" -H 127.0.0.1 -p "$PORT"; }

answers() { curl -sf -o /dev/null -m 2 "http://127.0.0.1:$PORT/moto-api/"; }

main "$@"
