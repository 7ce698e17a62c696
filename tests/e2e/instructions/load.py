"""Asks a running signet for tokens: `load.py COUNT`, over sixteen kept-alive connections, for 512 users in turn."""

import json
import os
import socket
import sys
from urllib.parse import urlsplit

CONNECTIONS = 16
USERS = 512


def request(host, user):
    body = json.dumps({
        "userId": f"usr_{user:06}", "userEmail": "ada@example.com", "userRoles": ["user", "agent"], "plan": "pro",
    }, separators=(",", ":"))
    return (
        f"POST /token HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {os.environ['SIGNET_API_KEY']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def main(count):
    url = urlsplit(os.environ["SIGNET_URL"])
    requests = [request(url.netloc, user) for user in range(USERS)]
    connections = [socket.create_connection((url.hostname, url.port)) for _ in range(CONNECTIONS)]
    # Asked together and answered together, so that a run differs little from the next.
    for first in range(0, count, CONNECTIONS):
        for place, connection in enumerate(connections):
            connection.sendall(requests[(first + place) % USERS])
        for connection in connections:
            answer = connection.recv(65536)
            if not answer.startswith(b"HTTP/1.1 200"):
                sys.exit(f"not a token: {answer!r}")


main(int(sys.argv[1]))
