"""An application with a session of its own: who is logged in, by cookie, and a page on every other path."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USERS = {"session=ada": "usr_1"}


class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        user = USERS.get(self.headers.get("Cookie"))
        if self.path != "/session":
            self.answer(404, {"page": "the application's"})
        elif user is None:
            self.answer(401, {})
        else:
            self.answer(200, {"user": {"id": user}})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(404, {"page": "the application's"})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Application)
    print(server.server_port, flush=True)
    server.serve_forever()
