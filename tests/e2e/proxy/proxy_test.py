"""What a browser's page and signet see of each other through a proxy."""

import base64
import http.client
import json
import os
import socket
import ssl
import time
import unittest
import uuid

HOST = "app.example.com"
CLIENT = "127.0.0.2"
PATH = "/api/support/token"


class ThroughTls(http.client.HTTPSConnection):
    """A connection to the proxy under the application's own name, from the client's address."""

    def __init__(self, port):
        trusting = ssl.create_default_context(cafile=os.environ["CERTIFICATE"])
        super().__init__(HOST, port, timeout=10, context=trusting)
        self.proxy = ("127.0.0.1", port)

    def connect(self):
        plain = socket.create_connection(self.proxy, 10, (CLIENT, 0))
        self.sock = self._context.wrap_socket(plain, server_hostname=HOST)


def ask(connection, method="POST", path=PATH, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=named)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, json.loads(body) if body[:1] == b"{" else body


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def audited(request_id):
    """The audit line of a request; the log is written a moment after the answer."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with open(os.environ["SIGNET_LOG"], encoding="utf-8") as log:
            for line in log:
                entry = json.loads(line)
                if entry.get("request_id") == request_id:
                    return entry
        time.sleep(0.02)
    raise AssertionError(f"no audit line for {request_id}")


class Mounting:
    """What holds for every proxy; PORT names its variable."""

    def ask(self, *arguments, **headers):
        headers.setdefault("Host", HOST)
        return ask(ThroughTls(int(os.environ[self.PORT])), *arguments, **headers)

    def test_a_page_gets_its_users_token_from_its_own_origin(self):
        for method in ("GET", "POST"):
            answer, document = self.ask(method, Cookie="session=ada", Sec_Fetch_Site="same-origin")
            self.assertEqual(answer.status, 200, document)
            self.assertEqual(claims(document["token"])["userId"], "usr_1")

    def test_an_older_browser_is_known_by_its_origin(self):
        answer, document = self.ask(Cookie="session=ada", Origin=f"https://{HOST}")
        self.assertEqual(answer.status, 200, document)
        answer, document = self.ask(Cookie="session=ada", Origin="https://evil.example.com")
        self.assertEqual((answer.status, document["code"]), (403, "origin_not_allowed"))

    def test_another_site_gets_nothing(self):
        answer, document = self.ask(Cookie="session=ada", Sec_Fetch_Site="cross-site")
        self.assertEqual((answer.status, document["code"]), (403, "origin_not_allowed"))

    def test_nobody_is_logged_in_without_a_cookie(self):
        answer, document = self.ask(Sec_Fetch_Site="same-origin")
        self.assertEqual((answer.status, document["code"]), (401, "login_required"))

    def test_the_audit_line_has_the_clients_address_whatever_it_says(self):
        for said in ({}, {"X_Forwarded_For": "203.0.113.6"}, {"X_Forwarded_For": "203.0.113.6, 127.0.0.1"}):
            answer, document = self.ask(Cookie="session=ada", **said)
            self.assertEqual(answer.status, 200, document)
            self.assertEqual(audited(answer.headers["X-Request-Id"])["ip"], CLIENT, said)

    def test_cleartext_that_claims_to_be_https_stays_https_to_the_proxy_alone(self):
        answer, document = self.ask(Cookie="session=ada", X_Forwarded_Proto="http")
        self.assertEqual(answer.status, 200, document)

    def test_the_backends_endpoint_is_not_mounted(self):
        for path in ("/token", "/apps/default/token", "/healthz", f"{PATH}/"):
            _, document = self.ask("POST", path)
            self.assertEqual(document, {"page": "the application's"}, path)


class Nginx(Mounting, unittest.TestCase):
    PORT = "NGINX_PORT"


class Caddy(Mounting, unittest.TestCase):
    PORT = "CADDY_PORT"


class Around(unittest.TestCase):
    """Past the proxy: signet's own port."""

    def test_a_client_that_comes_in_the_clear_is_refused_whatever_it_says(self):
        port = int(os.environ["SIGNET_URL"].rsplit(":", 1)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=("127.0.0.3", 0))
        identity = str(uuid.uuid4())
        answer, document = ask(connection, X_Forwarded_Proto="https", X_Forwarded_For="127.0.0.9",
                               X_Request_Id=identity, Cookie="session=ada")
        self.assertEqual((answer.status, document["code"]), (403, "https_required"))
        self.assertEqual(audited(identity)["ip"], "127.0.0.3")


class Demo(unittest.TestCase):
    """The application of deploy/compose, which tells signet who is logged in."""

    def ask(self, *arguments, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["DEMO_PORT"]), timeout=10,
                                                source_address=(CLIENT, 0))
        return ask(connection, *arguments, **headers)

    def test_a_login_gets_tokens_for_its_user(self):
        page, _ = self.ask("GET", "/login/grace")
        cookie = page.headers["Set-Cookie"].split(";")[0]
        answer, document = self.ask(Cookie=cookie)
        self.assertEqual(answer.status, 200, document)
        self.assertEqual(claims(document["token"])["userId"], "usr_2")
        self.assertEqual(audited(answer.headers["X-Request-Id"])["ip"], CLIENT)

    def test_nobody_names_a_user_but_the_application(self):
        answer, document = self.ask(X_Forwarded_User="usr_1")
        self.assertEqual((answer.status, document["code"]), (401, "login_required"))


if __name__ == "__main__":
    unittest.main()
