#!/usr/bin/env bash
# Starts and stops the signet under test; suites source it. It needs SIGNET_BIN.
#
# After `start_signet` these stand in the environment: SIGNET_URL, SIGNET_ADMIN_URL, SIGNET_CLIENT_ID,
# SIGNET_CLIENT_SECRET and SIGNET_API_KEY; settings exported before, such as
# SIGNET__SERVER__REQUEST_TIMEOUT, reach it too. With TLS say SIGNET_SCHEME=https, and what curl trusts. Its log is in $scratch/signet.log.

scratch=$(mktemp -d)
signet_pid=''
trap 'end_suite $?' EXIT

# 256 random bits as the configuration wants them.
random_secret() {
  head --bytes 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '='
}

# A port that nobody listens on at this moment.
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start_signet() {
  local port admin_port deadline
  port=$(free_port)
  admin_port=$(free_port)
  export SIGNET_URL="${SIGNET_SCHEME:-http}://127.0.0.1:$port" SIGNET_ADMIN_URL="http://127.0.0.1:$admin_port"
  export SIGNET_CLIENT_ID=ten_acme
  SIGNET_CLIENT_SECRET=$(random_secret)
  SIGNET_API_KEY=$(random_secret)
  export SIGNET_CLIENT_SECRET SIGNET_API_KEY
  export SIGNET__SERVER__LISTEN="127.0.0.1:$port" SIGNET__ADMIN__LISTEN="127.0.0.1:$admin_port"
  export SIGNET__SERVER__REQUIRE_HTTPS="${SIGNET__SERVER__REQUIRE_HTTPS:-false}"
  "$SIGNET_BIN" serve > "$scratch/signet.log" 2>&1 &
  signet_pid=$!
  deadline=$((SECONDS + 15))
  until curl --silent --fail --output /dev/null --max-time 2 "$SIGNET_URL/healthz"; do
    kill -0 "$signet_pid" 2> /dev/null || signet_pid=''
    if [ -z "$signet_pid" ] || [ "$SECONDS" -ge "$deadline" ]; then
      echo "signet didn't come up" >&2
      return 1
    fi
    sleep 0.05
  done
}

# Asks it to leave, as an orchestrator does, and demands that it leaves well.
stop_signet() {
  local pid=$signet_pid
  signet_pid=''
  kill -TERM "$pid"
  if ! wait "$pid"; then
    echo "signet didn't leave with 0" >&2
    return 1
  fi
}

end_suite() {
  local status=$1
  if [ -n "$signet_pid" ]; then
    stop_signet || status=1
  fi
  jobs -p | xargs --no-run-if-empty kill 2> /dev/null || true
  if [ "$status" -ne 0 ] && [ -s "$scratch/signet.log" ]; then
    echo "the end of signet's log:" >&2
    tail --lines 20 "$scratch/signet.log" >&2
  fi
  rm -rf "$scratch"
  exit "$status"
}
