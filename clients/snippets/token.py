"""A user's token, with Python's standard library."""

import json
import os
import urllib.error
import urllib.request

request = urllib.request.Request(
    f"{os.environ['SIGNET_URL']}/token",
    data=json.dumps({"userId": "usr_1", "userRoles": ["user"]}).encode(),
    headers={"Authorization": f"Bearer {os.environ['SIGNET_API_KEY']}", "Content-Type": "application/json"},
)
try:
    with urllib.request.urlopen(request, timeout=5) as response:
        print(json.load(response)["token"])
except urllib.error.HTTPError as error:
    problem = json.load(error)
    raise SystemExit(f"no token: {error.code} {problem['code']} (request {problem['requestId']})")
