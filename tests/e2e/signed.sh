#!/usr/bin/env bash
# Which secret signs the app `acme`, and waiting until it is another; suites with a caller's SHOP_KEY source it after signet.sh.

# signed_by SECRET: whether the next token is (HS256).
signed_by() {
  python3 - "$SIGNET_URL" "$1" << 'PYTHON'
import base64, hashlib, hmac, json, os, sys, urllib.request
url, secret = sys.argv[1:]
request = urllib.request.Request(
    url + "/token", b'{"userId":"usr_1","app":"acme"}',
    {"Authorization": "Bearer " + os.environ["SHOP_KEY"], "Content-Type": "application/json"})
with urllib.request.urlopen(request, timeout=10) as answer:
    signed, _, signature = json.load(answer)["token"].rpartition(".")
made = base64.urlsafe_b64encode(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256)).rstrip(b"=").decode()
sys.exit(0 if made == signature else 1)
PYTHON
}

# within SECONDS COMMAND…: until it succeeds.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      echo "not in time: ${*:1:1}" >&2
      return 1
    fi
    sleep 0.3
  done
}

# ready_is STATUS: what /readyz answers with.
ready_is() {
  [ "$(curl --silent --output /dev/null --write-out '%{http_code}' "$SIGNET_ADMIN_URL/readyz")" = "$1" ]
}

# logged TEXT: whether the log says it.
logged() {
  grep --quiet "$1" "${scratch:?}/signet.log"
}

# hidden SECRET…: whether the log has none of them.
hidden() {
  local secret
  for secret in "$@"; do
    if grep --quiet --fixed-strings "$secret" "${scratch:?}/signet.log"; then
      echo "the log shows a secret" >&2
      return 1
    fi
  done
}
