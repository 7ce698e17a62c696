"""Follows a page of Markdown: runs its commands in one shell and compares the replies that it shows.

A fence's words after its language say what it is:

    sh run        runs to its end, and must succeed
    sh serve      goes on running beside what follows, once http://127.0.0.1:8443/healthz answers
    sh dev        goes on running; the `curl` that it prints must get a token, and then it is stopped
    sh container  wants a container engine, and is said not to have run
    toml NAME     a file, in a folder that the commands after it run in
    json reply    the shape of what the last command printed: its members, and each text without an ellipsis
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

FENCE = re.compile(r"^```(\w+) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEALTH = "http://127.0.0.1:8443/healthz"


class Wrong(Exception):
    """The page says something that isn't so."""


class Shell:
    """One bash for the whole page, so that what one fence exports the next one knows."""

    def __init__(self):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SIGNET_")}
        self.bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean, start_new_session=True,
        )

    def run(self, commands):
        """Runs commands in this very shell; gives what they print, or says which failed."""
        end = "--- end of the commands ---"
        # Braces and not a subshell, which would lose the exports; without them a command could read the next ones.
        self.bash.stdin.write(
            f"set -eE; trap 'echo \"{end} $?\"' ERR\n{{\n{commands}\n}} < /dev/null\necho \"{end} 0\"\n"
        )
        self.bash.stdin.flush()
        printed = []
        for line in self.bash.stdout:
            before, mark, status = line.partition(end)
            printed.append(before)
            if mark:
                if int(status) != 0:
                    raise Wrong(f"it ended with {int(status)}:\n{commands}\n{''.join(printed)}")
                return "".join(printed)
        raise Wrong(f"it left the shell:\n{commands}\n{''.join(printed)}")

    def start(self, commands, log):
        """Starts commands beside the shell, with all that it has exported and in its folder."""
        state = self.run("pwd; env -0 | base64 --wrap 0; echo").splitlines()
        encoded = subprocess.run(["base64", "--decode"], input=state[-1], capture_output=True, text=True, check=True)
        exported = dict(entry.split("=", 1) for entry in encoded.stdout.split("\0") if "=" in entry)
        return subprocess.Popen(
            ["bash", "-c", f"exec {commands.strip()}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            cwd=state[-2], env=exported, start_new_session=True,
        )


def await_it(what, process, log, ready, seconds):
    """Asks `ready` until it gives something; what the process printed is told when it gives up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = ready()
        if found:
            return found
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise Wrong(f"no {what}; it printed:\n{pathlib.Path(log.name).read_text(errors='replace')}")


def healthy():
    try:
        with urllib.request.urlopen(HEALTH, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def printed_curl(log):
    """The first complete `curl` command in what was printed, with its continued lines."""
    text = pathlib.Path(log.name).read_text(errors="replace")
    found = re.search(r"^[ \t$]*(curl (?:.*\\\n)*.*[^\\\n])\n", text, re.MULTILINE)
    return found and found.group(1)


def stop(process):
    """Stops it as a terminal's Ctrl-C does, and demands that it leaves well."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        if process.wait(timeout=30) != 0:
            raise Wrong(f"it left with {process.returncode} after Ctrl-C")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise Wrong("it didn't leave within 30 seconds of Ctrl-C") from None


def compare(shown, real, place="reply"):
    """Members and types must be the same; texts too, where the page doesn't shorten them."""
    if type(shown) is not type(real):
        raise Wrong(f"{place}: the page shows {shown!r}, the reply has {real!r}")
    if isinstance(shown, dict):
        if shown.keys() != real.keys():
            raise Wrong(f"{place}: the page shows the members {sorted(shown)}, the reply has {sorted(real)}")
        for name, value in shown.items():
            compare(value, real[name], f"{place}.{name}")
    elif isinstance(shown, list):
        if len(shown) != len(real):
            raise Wrong(f"{place}: the page shows {len(shown)} items, the reply has {real!r}")
        for at, (left, right) in enumerate(zip(shown, real)):
            compare(left, right, f"{place}[{at}]")
    elif isinstance(shown, str):
        pattern = ".+".join(re.escape(part) for part in shown.split("…"))
        if not re.fullmatch(pattern, real, re.DOTALL):
            raise Wrong(f"{place}: the page shows {shown!r}, the reply has {real!r}")


def follow(page, scratch):
    shell, running, printed, counted = Shell(), [], None, 0
    try:
        for language, word, body in FENCE.findall(page.read_text(encoding="utf-8")):
            counted += 1
            kind = f"{language} {word}"
            print(f"{kind}: {body.strip().splitlines()[0]}", flush=True)
            if kind == "sh run":
                printed = shell.run(body)
            elif kind == "sh serve":
                with open(scratch / f"{counted}.log", "w", encoding="utf-8") as log:
                    running.append(shell.start(body, log))
                await_it("answer from /healthz", running[-1], log, healthy, 60)
            elif kind == "sh dev":
                with open(scratch / f"{counted}.log", "w", encoding="utf-8") as log:
                    running.append(shell.start(body, log))
                # The first time, the whole program is built for release.
                curl = await_it("curl command", running[-1], log, lambda log=log: printed_curl(log), 1200)
                reply = json.loads(shell.run(curl))
                if reply.get("token", "").count(".") != 2:
                    raise Wrong(f"the printed curl got no token: {sorted(reply)}")
                stop(running.pop())
            elif kind == "sh container":
                print("NOT RUN: wants a container engine")
            elif kind == "json reply":
                compare(json.loads(body), json.loads(printed))
            elif language == "toml":
                (scratch / word).write_text(body, encoding="utf-8")
                shell.run(f"cd {scratch}")
            else:
                raise Wrong(f"a fence of an unknown kind: {kind}")
        while running:
            stop(running.pop())
    finally:
        for process in [*running, shell.bash]:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return counted


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        try:
            total = follow(pathlib.Path(sys.argv[1]), pathlib.Path(folder))
        except Wrong as wrong:
            sys.exit(f"{sys.argv[1]}: {wrong}")
    print(f"{total} fences of {sys.argv[1]} say the truth")
