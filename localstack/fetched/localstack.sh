#!/bin/bash
# The S3 of LocalStack without a container, installed with pip into its own environment, on 127.0.0.1. It checks no signatures and forgets
# everything when it stops. `up` prints the environment variables of the tests; `down` stops it.
set -euo pipefail
cd "$(dirname "$0")/../.."
NAME="LocalStack"
ROOT=$(realpath -m "${CAIRN_LOCALSTACK_PYTHON_DIR:-cairn-data/localstack-python}")
ACCESS_KEY=cairn-dev SECRET_KEY=cairn-dev-secret BUCKET=cairn-dev FIRST_PORT=19400
source localstack/server.sh
source localstack/fetched/fetch.sh

# Later versions need an account; the other packages are the last ones that work with this version.
fetch() {
  python_packages localstack 4.9.2 "localstack-core[base-runtime]==4.9.2" "cbor2<5.8" "plux<1.13" \
    cryptography==43.0.3 pyopenssl==24.2.1 service_identity==24.2.0
}

start() {
  export SERVICES=s3 GATEWAY_LISTEN=127.0.0.1:$PORT LOCALSTACK_VOLUME_DIR=$ROOT/data DNS_ADDRESS=0
  # LocalStack's other server listens on all addresses.
  export GATEWAY_SERVER=hypercorn DISABLE_EVENTS=1 SKIP_SSL_CERT_DOWNLOAD=1
  launch server "$VENV/bin/python" -m localstack.runtime.main
}

answers() { curl -sf -m 2 "http://127.0.0.1:$PORT/_localstack/health" | grep -q '"s3"'; }

main "$@"
