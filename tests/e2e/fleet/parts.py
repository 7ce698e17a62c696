"""The fleet's parts: replicas, a Redis server, a load balancer, and clients that keep their connections."""

import asyncio
import collections
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).parent
PATIENCE = 30


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def until(what, condition):
    """Waits for what a process does in its own time."""
    deadline = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(condition):
        if time.monotonic() > deadline:
            raise AssertionError(f"in vain: {what}")
        await asyncio.sleep(0.02)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def fetch(port, path):
    """Status and text; nobody there is status 0."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


class Redis:
    def __init__(self, scratch):
        self.scratch, self.port, self.process = scratch, free_port(), None

    async def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            cwd=self.scratch, stdout=subprocess.DEVNULL)
        await until("Redis listens", lambda: listens(self.port))

    def send(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Replica:
    def __init__(self, name, scratch, environment):
        self.name, self.public, self.admin, self.process = name, free_port(), free_port(), None
        self.log = open(scratch / f"{name}.log", "ab")
        self.environment = environment | {
            "SIGNET__SERVER__LISTEN": f"127.0.0.1:{self.public}", "SIGNET__ADMIN__LISTEN": f"127.0.0.1:{self.admin}"}

    async def start(self):
        self.process = subprocess.Popen([os.environ["SIGNET_BIN"], "serve"], stdout=self.log, stderr=self.log,
                                        env=self.environment)
        await until(f"{self.name} is ready", lambda: fetch(self.admin, "/readyz")[0] == 200)

    async def leave(self):
        """Is told to stop, as by an orchestrator, and must leave well."""
        self.process.terminate()
        status = await asyncio.to_thread(self.process.wait, PATIENCE)
        assert status == 0, f"{self.name} left with {status}"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def metric(self, name):
        lines = fetch(self.admin, "/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    async def reload(self):
        before = self.metric("signet_reloads_total")
        self.process.send_signal(signal.SIGHUP)
        await until(f"{self.name} reloads", lambda: self.metric("signet_reloads_total") > before)
        assert self.metric("signet_last_reload_applied") == 1


class Balancer:
    def __init__(self, replicas):
        self.port = free_port()
        self.environment = os.environ | {"FRONT": str(self.port)}
        for replica in replicas:
            self.environment[f"PUBLIC_{replica.name.upper()}"] = str(replica.public)
            self.environment[f"ADMIN_{replica.name.upper()}"] = str(replica.admin)

    async def start(self, log):
        self.process = subprocess.Popen(["haproxy", "-db", "-f", HERE / "haproxy.cfg"], env=self.environment,
                                        stdout=log, stderr=log)
        await until("the load balancer listens", lambda: listens(self.port))


class Client:
    """One connection, kept as long as the other side keeps it. It never repeats a request."""

    def __init__(self, port, key):
        self.port, self.key, self.streams = port, key, None

    async def ask(self, user):
        """Status, error code and how long the answer took, in seconds."""
        body = json.dumps({"userId": user}).encode()
        request = (f"POST /token HTTP/1.1\r\nHost: tokens.example.com\r\nAuthorization: Bearer {self.key}\r\n"
                   f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        started = time.monotonic()
        writer.write(request)
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        document = await asyncio.wait_for(reader.readexactly(length), PATIENCE)
        took = time.monotonic() - started
        if "connection: close" in head:
            self.close()
        code = json.loads(document).get("code") if document.startswith(b"{") else "not signet's"
        return int(head.split(" ")[1]), code, took

    def close(self):
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


def outcomes_of(answers):
    """How often each status came with each error code."""
    return collections.Counter((status, code) for status, code, _ in answers)


class Load:
    """Clients that ask one after the other, each for users of its own, while `async with` lasts."""

    def __init__(self, port, key, clients=8, pause=0.01):
        self.clients = [Client(port, key) for _ in range(clients)]
        self.pause, self.answers, self.faults, self.stopping = pause, [], [], False

    async def __aenter__(self):
        self.tasks = [asyncio.create_task(self.go_on(number, it)) for number, it in enumerate(self.clients)]
        return self

    async def __aexit__(self, *_):
        self.stopping = True
        await asyncio.gather(*self.tasks)

    async def go_on(self, number, client):
        asked = 0
        while not self.stopping:
            try:
                self.answers.append(await client.ask(f"usr_{id(self)}_{number}_{asked}"))
            except (OSError, EOFError, asyncio.TimeoutError) as fault:
                self.faults.append(repr(fault))
                client.close()
            asked += 1
            await asyncio.sleep(self.pause)
        client.close()

    async def more(self, answers=100):
        """Waits for that many further answers."""
        wanted = len(self.answers) + answers
        await until(f"{answers} more answers", lambda: len(self.answers) >= wanted)

    def slowest(self):
        return max(took for _, _, took in self.answers)
