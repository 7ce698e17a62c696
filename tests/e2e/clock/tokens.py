"""Asks for tokens and holds each against the clock: `tokens.py OFFSET KEY NUMBER`."""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.request

LIFETIME, BACKDATE, SLACK = 3600, 5, 3


def token(user):
    request = urllib.request.Request(
        os.environ["SIGNET_URL"] + "/token",
        json.dumps({"userId": user, "app": "acme"}).encode(),
        {"Authorization": "Bearer " + os.environ["SHOP_KEY"], "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def decode(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def signed_by(text):
    """The name of the key that signed it."""
    signed, _, signature = text.rpartition(".")
    for name in ("old", "new"):
        secret = os.environ[name.upper() + "_SECRET"].encode()
        if hmac.compare_digest(hmac.digest(secret, signed.encode(), hashlib.sha256), decode(signature)):
            return name
    sys.exit("a token that neither key signed")


def check(answer, offset):
    """Holds the token's times against the clock's and gives its key."""
    claims = json.loads(decode(answer["token"].split(".")[1]))
    now = time.time() + offset
    if not claims["iat"] < claims["exp"] == claims["iat"] + LIFETIME:
        sys.exit(f"a token from {claims['iat']} to {claims['exp']}")
    if abs(claims["iat"] + BACKDATE - now) > SLACK:
        sys.exit(f"a token of {claims['iat']} at {now}")
    if answer["expiresIn"] != LIFETIME - BACKDATE:
        sys.exit(f"a token for {answer['expiresIn']} s")
    return signed_by(answer["token"])


def main():
    offset, key, number = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    for count in range(number):
        found = check(token(f"usr_{count}"), offset)
        if found != key:
            sys.exit(f"signed by the {found} key, not by the {key} one")


if __name__ == "__main__":
    main()
