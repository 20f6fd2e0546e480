# Shared by radosgw.sh, swift.sh and the scripts in fetched/, which source it and set NAME, ROOT, ACCESS_KEY, SECRET_KEY and BUCKET.

fail() {
  echo "$*" >&2
  exit 1
}

# Installs those of Debian's packages $@ that are missing, without starting their daemons.
need_packages() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "$NAME needs Debian's packages ${missing[*]}, and there is no apt-get here."
  [ "$(id -u)" = 0 ] || fail "$NAME needs the packages ${missing[*]}: run this as root, or: sudo apt-get install --no-install-recommends ${missing[*]}"
  echo "installing ${missing[*]}" >&2
  local policy=/usr/sbin/policy-rc.d log
  log=$(mktemp)
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 ||
    { apt-get update >>"$log" 2>&1 && apt-get install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; } ||
    { tail -5 "$log" >&2; fail "The packages of $NAME could not be installed; $log says why."; }
  rm -f "$log"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints the first port from $1 on, in steps of $2, that is free together with the next $3 ports.
free_ports() {
  local base port
  for ((base = $1; base < 60000; base += $2)); do
    for ((port = base; port <= base + $3; port++)); do listens $port && continue 2; done
    echo $base
    return
  done
  fail "There is no free port for $NAME."
}

# Starts a server in a new session, so that its process id is also that of its group: launch NAME COMMAND...
launch() {
  local name=$1
  shift
  setsid "$@" >>"$ROOT/log/$name.out" 2>&1 </dev/null &
  echo $! >"$ROOT/run/$name.pid"
}

# Returns whether the process of a pid file is still the one that was started.
alive() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 1
  [ "$(ps -o pgid= -p "$pid" 2>/dev/null | tr -d ' ')" = "$pid" ]
}

running() {
  local file
  for file in "$ROOT"/run/*.pid; do [ -e "$file" ] && alive "$file" && return 0; done
  return 1
}

# Stops the servers $@, in this order.
stop() {
  local name file pid
  for name in "$@"; do
    file=$ROOT/run/$name.pid
    [ -e "$file" ] || continue
    if alive "$file"; then
      pid=$(cat "$file")
      kill -TERM -- "-$pid" 2>/dev/null || true
      for _ in $(seq 100); do kill -0 -- "-$pid" 2>/dev/null || break; sleep 0.1; done
      kill -KILL -- "-$pid" 2>/dev/null || true
    fi
    rm -f "$file"
  done
}

# Retries the command $2... until it succeeds, for at most $1 seconds.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}

# Prints the variables for a shell or a test: eval "$(radosgw.sh up)"
print_variables() {
  echo "export CAIRN_TEST_S3_NAME='$NAME'"
  echo "export CAIRN_TEST_S3_ENDPOINT=http://127.0.0.1:$PORT"
  echo "export CAIRN_TEST_S3_BUCKET=$BUCKET"
  echo "export CAIRN_TEST_S3_ACCESS_KEY=$ACCESS_KEY"
  echo "export CAIRN_TEST_S3_SECRET_KEY=$SECRET_KEY"
  echo "export CAIRN_TEST_S3_REGION=us-east-1"
}

usage() { fail "usage: $0 up | down [--wipe]   (its data: $ROOT)"; }

# Removes the data, if `up` has created it.
wipe() { [ -e "$ROOT/made-by-cairn" ] && rm -rf "$ROOT"; true; }
