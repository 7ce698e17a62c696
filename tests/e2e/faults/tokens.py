"""Asks for tokens over TLS: `tokens.py CERTIFICATE NUMBER`. Every answer must be one."""

import http.client
import json
import os
import ssl
import sys
import threading
import time
import urllib.parse

CLIENTS = 4
PER_CONNECTION = 500


def ask(address, trusted, first, number):
    headers = {"Authorization": "Bearer " + os.environ["SIGNET_API_KEY"], "Content-Type": "application/json"}
    connection = None
    for asked in range(number):
        if asked % PER_CONNECTION == 0:
            if connection:
                connection.close()
            connection = http.client.HTTPSConnection(address, context=trusted, timeout=60)
        connection.request("POST", "/token", json.dumps({"userId": f"usr_{first + asked}"}), headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or json.loads(body)["token"].count(".") != 2:
            raise AssertionError(f"{answer.status} {body!r}")
        answered.append(1)


certificate, number = sys.argv[1], int(sys.argv[2])
address = urllib.parse.urlsplit(os.environ["SIGNET_URL"]).netloc
trusted = ssl.create_default_context(cafile=certificate)
answered = []
started = time.monotonic()
each = number // CLIENTS
threads = [threading.Thread(target=ask, args=(address, trusted, at * each, each)) for at in range(CLIENTS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if len(answered) != each * CLIENTS:
    sys.exit(f"{len(answered)} tokens of {each * CLIENTS}")
seconds = time.monotonic() - started
print(f"a read-only root and 64 MiB: {len(answered)} tokens over TLS in {seconds:.0f} s")
