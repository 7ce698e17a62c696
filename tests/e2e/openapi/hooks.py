"""What the OpenAPI document leaves to words or to the configuration, told to Schemathesis.

Only what is meant to be valid is touched, so that it is: invalid requests go out as they were generated.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import sys
import time
import unicodedata

import hypothesis
import schemathesis

# Hypothesis would look for ever shorter inputs that are accepted, which takes four fifths of the time and tries
# nothing new; both kinds of input come by chance as well.
hypothesis.target = lambda *_, **__: 0.0

# Of the strings' rules JSON Schema can't say that lengths are in bytes.
MAX_ATTRIBUTES_BYTES = 1000


def _forbidden() -> str:
    """The characters of Cc, Cf, Zl and Zp as a part of a class: Python's expressions know no \\p{…}."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in {"Cc", "Cf", "Zl", "Zp"}:
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


def _session() -> str:
    """A session's JWT as the app's resolver wants it."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).decode().rstrip("=")

    claims = {
        "iss": "https://login.example.com",
        "aud": "https://app.example.com",
        "sub": "usr_1",
        "exp": int(time.time()) + 3600,
    }
    signed = ".".join(part(json.dumps(it).encode()) for it in ({"alg": "HS256"}, claims))
    key = os.environ["SESSION_SECRET"].encode()
    return f"{signed}.{part(hmac.digest(key, signed.encode(), hashlib.sha256))}"


FORBIDDEN = _forbidden()
SESSION = _session()
BROWSER = "/apps/{app}/token"


@schemathesis.hook
def before_load_schema(context, raw_schema):
    def translate(node):
        if isinstance(node, dict):
            for name, value in node.items():
                if name == "pattern" and isinstance(value, str):
                    node[name] = value.replace(r"\p{Cc}\p{Cf}\p{Zl}\p{Zp}", FORBIDDEN)
                else:
                    translate(value)
        elif isinstance(node, list):
            for item in node:
                translate(item)

    translate(raw_schema)


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.path == BROWSER and not (isinstance(case.body, dict) and case.body.get("isAnonymous")):
        case.headers["Authorization"] = f"Bearer {SESSION}"
    if case.path != "/token" or not isinstance(case.body, dict):
        return
    if case.media_type == "application/json":
        case.body = _request(case.body)
    else:
        case.body = _exchange(case.body)


def _request(body: dict) -> dict:
    """A request within its bytes, for the one app and the one attribute that there are."""
    known = {"app": "acme", "clientId": "ten_acme", "tenantId": "ten_acme"}
    limits = {"userId": 200, "identity": 200, "plan": 80}
    request = {}
    for name, value in body.items():
        if name in known:
            value = known[name]
        elif name in limits:
            value = _cut(value, limits[name])
        elif name in ("userEmail", "email"):
            value = value if _is_short_address(value) else "zoë@exämple.com"
        elif name in ("userRoles", "roles"):
            value = [_cut(role, 80) for role in value]
        elif name == "ttl":
            # JSON Schema takes 60.0 for an integer.
            value = int(value)
        elif name == "attributes" and value:
            room = next(iter(value.values()))
            value = {"room": room if len(json.dumps(room)) <= MAX_ATTRIBUTES_BYTES else "x"}
        request[name] = value
    # A token has at most 4 KiB.
    if len(json.dumps(request, ensure_ascii=False).encode()) > 2000:
        request.pop("userRoles", None)
        request.pop("roles", None)
    return request


def _exchange(body: dict) -> dict:
    """A form for the one app, with a subject token that holds and the one way to authenticate that is used here."""
    known = {
        "audience": "ten_acme",
        "client_id": "shop",
        "client_secret": "",
        "resource": "https://api.example.com",
        "subject_token": SESSION,
    }
    return {name: known.get(name, value) if value != "" else value for name, value in body.items()}


def _cut(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore").rstrip()


def _is_short_address(address: str) -> bool:
    local, _, host = address.rpartition("@")
    labels = re.split(r"\.", host)
    return (
        len(address.encode()) <= 254
        and len(local.encode()) <= 64
        and all(len(label.encode()) <= 63 for label in labels)
    )
