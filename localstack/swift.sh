#!/bin/bash
# A real S3 server from Debian's packages: OpenStack Swift with its s3api, on 127.0.0.1, without systemd or containers, as root.
# `up` prints the environment variables of the tests; `down` stops it and keeps its data, `down --wipe` removes the data too.
set -euo pipefail
cd "$(dirname "$0")/.."
NAME="OpenStack Swift"
ROOT=$(realpath -m "${CAIRN_SWIFT_DIR:-cairn-data/localstack-swift}")
# Swift's keys have the form account:user, and neither may contain an underscore.
ACCOUNT=cairn NAME_OF_USER=dev ACCESS_KEY=cairn:dev SECRET_KEY=cairn-dev-secret BUCKET=cairn-dev
source localstack/server.sh
ETC=$ROOT/etc

answers() { TOKEN=$(token) && [ -n "$TOKEN" ]; }
token() {
  curl -s -i -m 2 -H "X-Storage-User: $ACCESS_KEY" -H "X-Storage-Pass: $SECRET_KEY" "http://127.0.0.1:$PORT/auth/v1.0" |
    tr -d '\r' | sed -n 's/^X-Auth-Token: //Ip'
}
make_bucket() {
  curl -sf -o "$ROOT/log/bucket.out" -X PUT -H "X-Auth-Token: $(token)" "http://127.0.0.1:$PORT/v1/AUTH_$ACCOUNT/$BUCKET"
}

write_config() {
  local name port=$PORT
  cat >"$ETC/swift.conf" <<CONFIG
[swift-hash]
swift_hash_path_suffix = cairn
swift_hash_path_prefix = cairn
[storage-policy:0]
name = Policy-0
default = yes
CONFIG
  for name in account container object; do
    port=$((port + 1))
    cat >"$ETC/$name-server.conf" <<CONFIG
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
workers = 0
user = swift
swift_dir = $ETC
devices = $ROOT/dev
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
recon_cache_path = $ROOT/cache
log_level = WARNING
[pipeline:main]
pipeline = $name-server
[app:$name-server]
use = egg:swift#$name
CONFIG
    swift-ring-builder "$ETC/$name.builder" create 4 1 1 >/dev/null
    swift-ring-builder "$ETC/$name.builder" add --region 1 --zone 1 --ip 127.0.0.1 --port $port --device d1 --weight 1 >/dev/null
    swift-ring-builder "$ETC/$name.builder" rebalance >/dev/null
  done
  cat >"$ETC/proxy-server.conf" <<CONFIG
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $PORT
workers = 0
user = swift
swift_dir = $ETC
log_level = WARNING
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats bulk s3api tempauth slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
object_post_as_copy = false
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$((PORT + 4))
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
dns_compliant_bucket_names = true
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
user_${ACCOUNT}_$NAME_OF_USER = $SECRET_KEY .admin
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
CONFIG
}

up() {
  [ "$(id -u)" = 0 ] || fail "$NAME runs as the system's user swift: start this as root."
  need_packages swift-proxy swift-account swift-container swift-object memcached curl
  if running; then
    PORT=$(cat "$ROOT/port")
    answers && { print_variables; return; }
    stop proxy object container account memcached
  fi
  [ -e "$ROOT/complete" ] || wipe
  mkdir -p "$ROOT"/{etc,run,log,cache} "$ROOT/dev/d1"
  touch "$ROOT/made-by-cairn"
  if [ ! -e "$ROOT/complete" ]; then
    PORT=$(free_ports "${CAIRN_SWIFT_PORT:-18080}" 10 4)
    echo "$PORT" >"$ROOT/port"
    write_config
    chown -R swift:swift "$ROOT"
  fi
  PORT=$(cat "$ROOT/port")
  listens "$PORT" && fail "Port $PORT of $NAME is used by another program: stop it, or remove this data with: $0 down --wipe"
  runuser -u swift -- test -r "$ETC/swift.conf" || fail "The user swift cannot read $ROOT: set CAIRN_SWIFT_DIR to a folder that it can reach."
  launch memcached memcached -u nobody -l 127.0.0.1 -p $((PORT + 4)) -U 0 -m 16
  local name
  # -v logs to standard output instead of syslog.
  for name in account container object proxy; do launch $name swift-$name-server "$ETC/$name-server.conf" -v; done
  within 30 answers || fail "$NAME did not answer; see $ROOT/log."
  within 15 make_bucket || fail "$NAME could not create the bucket; see $ROOT/log/bucket.out."
  touch "$ROOT/complete"
  print_variables
}

case "${1:-}" in
  up) up ;;
  down)
    stop proxy object container account memcached
    [ "${2:-}" != --wipe ] || wipe
    ;;
  *) usage ;;
esac
