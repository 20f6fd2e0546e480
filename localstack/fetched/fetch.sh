# Shared by minio.sh, versitygw.sh, localstack.sh and moto.sh, which source it after server.sh. Each server is one process; its script
# defines `fetch`, `start` and `answers`. Programs are fetched once, into a folder named after their version.
CACHE=node_modules/.cache/s3-servers

# Builds the program $1 of the Go module $2 at version $3: go_program minio github.com/minio/minio v1.2.3
go_program() {
  PROGRAM=$PWD/$CACHE/$1-$3/$1
  [ -x "$PROGRAM" ] && return 0
  command -v go >/dev/null || fail "$NAME is built by Go, and there is no go here: install Go 1.25 or later."
  echo "building $2@$3; this takes some minutes" >&2
  local log
  log=$(mktemp)
  GOBIN=$(dirname "$PROGRAM") go install "$2@$3" >"$log" 2>&1 || {
    tail -5 "$log" >&2
    fail "$NAME could not be built; $log says why."
  }
  rm -f "$log"
}

# Creates the Python environment $1-$2 with the packages $3... (tested with Python 3.11).
python_packages() {
  VENV=$PWD/$CACHE/$1-$2
  shift 2
  [ -e "$VENV/complete" ] && return 0
  command -v python3 >/dev/null || fail "$NAME is a Python program, and there is no python3 here."
  rm -rf "$VENV"
  echo "installing ${*}" >&2
  local log
  log=$(mktemp)
  { python3 -m venv "$VENV" && "$VENV/bin/pip" install "$@"; } >"$log" 2>&1 || {
    tail -5 "$log" >&2
    fail "$NAME could not be installed; $log says why. (Without the module venv: Debian's python3-venv.)"
  }
  rm -f "$log"
  touch "$VENV/complete"
}

# Creates the bucket. 409 means that it exists.
make_bucket() {
  local status nothing
  nothing=$(printf '' | sha256sum | cut -d' ' -f1)
  status=$(curl -s -o "$ROOT/log/bucket.out" -w '%{http_code}' -m 60 -X PUT --aws-sigv4 aws:amz:us-east-1:s3 \
    --user "$ACCESS_KEY:$SECRET_KEY" -H "x-amz-content-sha256: $nothing" "http://127.0.0.1:$PORT/$BUCKET")
  [ "$status" = 200 ] || [ "$status" = 409 ]
}

up() {
  command -v curl >/dev/null || fail "curl is needed to make the bucket (Debian: curl)."
  fetch
  if running; then
    PORT=$(cat "$ROOT/port")
    answers && { print_variables; return; }
    stop server
  fi
  mkdir -p "$ROOT"/{run,log,data}
  touch "$ROOT/made-by-cairn"
  PORT=$(free_ports "$FIRST_PORT" 10 1)
  echo "$PORT" >"$ROOT/port"
  start
  within 120 answers || { stop server; fail "$NAME did not answer; see $ROOT/log/server.out."; }
  within 30 make_bucket || { stop server; fail "$NAME could not create the bucket; see $ROOT/log/bucket.out."; }
  print_variables
}

# main up | down [--wipe]
main() {
  case "${1:-}" in
    up) up ;;
    down)
      stop server
      [ "${2:-}" != --wipe ] || wipe
      ;;
    *) usage ;;
  esac
}
