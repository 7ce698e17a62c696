"""The dashboard's and the alerts' queries, put to a real Prometheus that watches a running signet."""

import json
import os
import pathlib
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

DEPLOY = pathlib.Path(__file__).parents[3] / "deploy"
PROMETHEUS = os.environ["PROMETHEUS_URL"]
FILLED_IN = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*", "$app": ".*"}


def ask(path, **parameters):
    url = f"{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{parameters}: {json.load(error)['error']}") from None


def panels():
    dashboard = json.loads((DEPLOY / "grafana/signet.json").read_text())
    seen = set()
    for panel in dashboard["panels"]:
        assert panel["id"] not in seen, f"two panels have the ID {panel['id']}"
        seen.add(panel["id"])
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def rules():
    for group in ask("rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] in ("ok", "unknown"), f"{rule['name']}: {rule.get('lastError')}"
            yield rule["name"], rule["query"]


def main():
    deadline = time.monotonic() + 30
    while not ask("query", query="rate(signet_build_info[1m])")["result"]:
        assert time.monotonic() < deadline, "Prometheus never saw signet twice"
        time.sleep(0.2)
    known = {name for name in ask("label/__name__/values") if name.startswith("signet_")}
    queries = [*panels(), *rules()]
    used = set()
    for title, query in queries:
        for variable, value in FILLED_IN.items():
            query = query.replace(variable, value)
        ask("query", query=query)
        names = set(re.findall(r"\bsignet_[a-z_]+", query))
        assert names <= known, f"{title}: signet has no {names - known}"
        used |= names
    # A histogram's sum and count stand beside the buckets.
    unused = {name for name in known - used if not name.endswith(("_sum", "_count", "_created"))}
    assert not unused, f"neither dashboard nor alert shows {unused}"
    print(f"{len(queries)} queries run on the {len(known)} metrics that signet has")


if __name__ == "__main__":
    sys.exit(main())
