#!/bin/bash
# A real S3 server from Debian's packages: Ceph's RADOS gateway with one monitor and one OSD, on 127.0.0.1, without systemd or containers.
# `up` prints the environment variables of the tests; `down` stops it and keeps its data, `down --wipe` removes the data too.
set -euo pipefail
cd "$(dirname "$0")/.."
NAME="Ceph radosgw"
ROOT=$(realpath -m "${CAIRN_RADOSGW_DIR:-cairn-data/localstack-radosgw}")
ACCESS_KEY=cairn-dev SECRET_KEY=cairn-dev-secret BUCKET=cairn-dev
source localstack/server.sh
ETC=$ROOT/etc CONF=$ROOT/etc/ceph.conf

answers() { curl -s -o /dev/null -m 2 "http://127.0.0.1:$PORT/"; }
ask_ceph() { timeout 30 ceph -c "$CONF" "$@"; }
osd_is_up() { ask_ceph osd stat | grep -q ' 1 up'; }

# Creates the bucket, with a signature of version 2, for which openssl is enough.
make_bucket() {
  local date signature
  date=$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S GMT')
  signature=$(printf 'PUT\n\n\n%s\n/%s' "$date" "$BUCKET" | openssl dgst -sha1 -hmac "$SECRET_KEY" -binary | base64)
  curl -sf -o "$ROOT/log/bucket.out" -m 60 -X PUT -H "Date: $date" \
    -H "Authorization: AWS $ACCESS_KEY:$signature" "http://127.0.0.1:$PORT/$BUCKET"
}

write_config() {
  local fsid
  fsid=$(cat /proc/sys/kernel/random/uuid)
  cat >"$CONF" <<CONFIG
[global]
fsid = $fsid
mon_host = [v2:127.0.0.1:$((PORT + 1))/0]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
ms_bind_msgr1 = false
ms_bind_port_min = $((PORT + 2))
ms_bind_port_max = $((PORT + 30))
keyring = $ETC/keyring
run_dir = $ROOT/run
admin_socket = $ROOT/run/\$name.asok
log_file = $ROOT/log/\$name.log
debug_ms = 0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 500
[mon]
mon_data = $ROOT/mon
mon_cluster_log_file = $ROOT/log/cluster.log
mon_data_avail_warn = 2
mon_data_avail_crit = 1
mon_warn_on_insecure_global_id_reclaim_allowed = false
paxos_propose_interval = 0.05
paxos_min_wait = 0.02
[osd]
osd_data = $ROOT/osd
osd_objectstore = bluestore
osd_crush_initial_weight = 1
bluestore_block_create = true
bluestore_block_size = ${CAIRN_RADOSGW_BYTES:-10737418240}
osd_memory_target = 939524096
osd_class_load_list = *
osd_class_default_list = *
[client]
rgw_frontends = beast endpoint=127.0.0.1:$PORT tcp_nodelay=1
rgw_data = $ROOT/rgw
rgw_thread_pool_size = 32
rgw_gc_obj_min_wait = 60
rgw_gc_processor_period = 60
rgw_enable_usage_log = false
CONFIG
}

# The gateway does not start without cephx.
make_monitor() {
  local key="ceph-authtool $ETC/keyring --gen-key"
  monmaptool --create --clobber --addv a "[v2:127.0.0.1:$((PORT + 1))]" \
    --fsid "$(sed -n 's/^fsid = //p' "$CONF")" "$ETC/monmap" >/dev/null
  $key --create-keyring -n mon. --cap mon 'allow *' >/dev/null
  $key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' >/dev/null
  $key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' --cap mgr 'allow profile osd' >/dev/null
  $key -n client.rgw --cap mon 'allow rw' --cap osd 'allow rwx' >/dev/null
  ceph-mon -c "$CONF" -i a --mkfs --monmap "$ETC/monmap" --keyring "$ETC/keyring" >>"$ROOT/log/make.out" 2>&1
}

make_osd() {
  local id
  id=$(cat /proc/sys/kernel/random/uuid)
  within 30 ask_ceph osd new "$id" 0 || fail "The monitor of $NAME did not answer; see $ROOT/log."
  ceph-osd -c "$CONF" -i 0 --mkfs --osd-uuid "$id" >>"$ROOT/log/make.out" 2>&1
}

up() {
  need_packages ceph-mon ceph-osd radosgw ceph-common curl openssl
  if running; then
    PORT=$(cat "$ROOT/port")
    answers && { print_variables; return; }
    stop rgw osd mon
  fi
  # Incomplete data would never start.
  [ -e "$ROOT/complete" ] || wipe
  mkdir -p "$ROOT"/{etc,run,log,mon,osd,rgw}
  touch "$ROOT/made-by-cairn"
  export CEPH_CONF=$CONF
  local fresh=
  if [ ! -e "$ROOT/complete" ]; then
    fresh=yes
    PORT=$(free_ports "${CAIRN_RADOSGW_PORT:-18180}" 40 30)
    echo "$PORT" >"$ROOT/port"
    write_config
    make_monitor
  fi
  PORT=$(cat "$ROOT/port")
  listens "$PORT" && fail "Port $PORT of $NAME is used by another program: stop it, or remove this data with: $0 down --wipe"
  launch mon ceph-mon -c "$CONF" -i a -f
  [ -z $fresh ] || make_osd
  launch osd ceph-osd -c "$CONF" -i 0 -f
  within 60 osd_is_up || fail "The OSD of $NAME did not come up; see $ROOT/log."
  if [ -n "$fresh" ]; then
    timeout 120 radosgw-admin -c "$CONF" -n client.rgw user create --uid cairn --display-name cairn \
      --access-key "$ACCESS_KEY" --secret "$SECRET_KEY" >"$ROOT/log/user.out" 2>&1 || fail "$NAME could not create the user; see $ROOT/log."
  fi
  launch rgw radosgw -c "$CONF" -n client.rgw -f
  within 60 answers || fail "$NAME did not answer; see $ROOT/log."
  within 30 make_bucket || fail "$NAME could not create the bucket; see $ROOT/log/bucket.out."
  touch "$ROOT/complete"
  print_variables
}

case "${1:-}" in
  up) up ;;
  down)
    stop rgw osd mon
    [ "${2:-}" != --wipe ] || wipe
    ;;
  *) usage ;;
esac
