"""Three replicas behind a load balancer are as strict as one, and nobody notices when one of them or Redis goes."""

import asyncio
import os
import pathlib
import secrets
import signal
import sys
import tempfile

from parts import Balancer, Client, Load, Redis, Replica, outcomes_of, until

BURST = 20
ISSUED = (200, None)
# A hung Redis costs one request of each replica 75 ms; what a busy machine adds is its own.
PROMPT_SECONDS = 2.0


def configuration(redis, on_outage):
    return f"""
[server]
trusted_proxies = ["127.0.0.1/32"]
[limits]
per_ip = {{ rate = 1000000, per = "1s", burst = 1000000 }}
per_caller = {{ rate = 1000000, per = "1s", burst = 1000000 }}
per_user = {{ rate = 1, per = "1h", burst = {BURST} }}
store = {{ redis = "redis://127.0.0.1:{redis.port}", on_outage = "{on_outage}" }}
"""


class Fleet:
    def __init__(self, scratch):
        self.scratch, self.key, self.redis = scratch, secrets.token_urlsafe(32), Redis(scratch)
        self.file = scratch / "signet.toml"
        environment = os.environ | {
            "SIGNET_CONFIG": str(self.file), "SIGNET_CLIENT_ID": "ten_acme",
            "SIGNET_CLIENT_SECRET": secrets.token_urlsafe(32), "SIGNET_API_KEY": self.key}
        self.replicas = [Replica(name, scratch, environment) for name in "abc"]
        self.balancer = Balancer(self.replicas)

    async def start(self):
        self.file.write_text(configuration(self.redis, "closed"))
        await self.redis.start()
        await asyncio.gather(*(replica.start() for replica in self.replicas))
        await self.balancer.start(open(self.scratch / "haproxy.log", "ab"))
        await self.store_is(1)

    def stop(self):
        for part in (*self.replicas, self.redis, self.balancer):
            process = getattr(part, "process", None)
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    async def on_outage(self, choice):
        self.file.write_text(configuration(self.redis, choice))
        await asyncio.gather(*(replica.reload() for replica in self.replicas))

    async def store_is(self, up):
        for replica in self.replicas:
            await until(f"{replica.name} sees the store {'up' if up else 'away'}",
                        lambda replica=replica: replica.metric("signet_limits_store_up") == up)

    def outages(self):
        return sum(replica.metric("signet_limits_store_outages_total") for replica in self.replicas)

    def load(self):
        return Load(self.balancer.port, self.key)

    async def crowd(self, user, requests):
        """The outcomes of so many requests at once, each on a connection of its own."""
        clients = [Client(self.balancer.port, self.key) for _ in range(requests)]
        answers = await asyncio.gather(*(client.ask(user) for client in clients))
        for client in clients:
            client.close()
        return outcomes_of(answers)


def only(load, *outcomes):
    assert not load.faults, load.faults[:5]
    seen = outcomes_of(load.answers)
    assert set(seen) <= set(outcomes), seen


async def admits_one_burst(fleet, name, requests):
    """Gives the user whose limit is spent now."""
    for attempt in range(5):
        user, before = f"{name}_{attempt}", fleet.outages()
        outcomes = await fleet.crowd(user, requests)
        # On a machine with too much to do Redis may look hung. That is an outage, which other scenes try.
        if fleet.outages() == before:
            break
    assert outcomes == {ISSUED: BURST, (429, "rate_limited"): requests - BURST}, outcomes
    return user


async def a_crowd_gets_one_burst_from_all_replicas(fleet):
    await admits_one_burst(fleet, "usr_crowd", 500)
    shares = [replica.metric('signet_requests_total{route="/token",outcome="issued"') for replica in fleet.replicas]
    refused = [replica.metric('signet_requests_total{route="/token",outcome="rate_limited"') for replica in fleet.replicas]
    assert all(refused), "some replica was never asked"
    return f"{BURST} of 500 admitted; the replicas issued {', '.join(str(int(share)) for share in shares)}"


async def a_rolling_restart_fails_no_request(fleet):
    await fleet.on_outage("local")
    async with fleet.load() as load:
        await load.more()
        for replica in fleet.replicas:
            await replica.leave()
            await load.more()
            await replica.start()
            await load.more()
    only(load, ISSUED)
    return f"{len(load.answers)} requests, the slowest in {load.slowest():.3f} s"


async def a_replica_killed_fails_no_request(fleet):
    async with fleet.load() as load:
        await load.more()
        fleet.replicas[1].kill()
        await load.more(300)
        await fleet.replicas[1].start()
        await load.more()
    only(load, ISSUED)
    return f"{len(load.answers)} requests, the slowest in {load.slowest():.3f} s"


async def redis_goes_and_comes_back(fleet, choice, go, come_back):
    """Under load and with one user whose limit is spent: what `on_outage` says, and strictness afterwards."""
    await fleet.on_outage(choice)
    name = f"usr_{choice}_{go.__name__}"
    spent = await admits_one_burst(fleet, name, 2 * BURST)
    client = Client(fleet.balancer.port, fleet.key)
    async with fleet.load() as load:
        await load.more()
        go()
        await fleet.store_is(0)
        await load.more(200)
        during = [await client.ask(spent) for _ in range(6)]
        await come_back()
        await fleet.store_is(1)
        await load.more()
    client.close()
    away = (503, "limits_unavailable")
    only(load, *([ISSUED, away] if choice == "closed" else [ISSUED]))
    assert load.slowest() < PROMPT_SECONDS, f"a request took {load.slowest():.3f} s"
    # `local` starts afresh in each process, and so has room for these few.
    expected = away if choice == "closed" else ISSUED
    assert all((status, code) == expected for status, code, _ in during), during
    await admits_one_burst(fleet, f"{name}_again", 2 * BURST)
    without = sum(replica.metric("signet_limits_decided_without_store_total") for replica in fleet.replicas)
    return f"{len(load.answers)} requests, the slowest in {load.slowest():.3f} s; {int(without)} decided without Redis so far"


async def play(scratch):
    fleet = Fleet(scratch)

    def killed():
        fleet.redis.kill()

    def stopped():
        fleet.redis.send(signal.SIGSTOP)

    async def goes_on():
        fleet.redis.send(signal.SIGCONT)

    scenes = [
        ("500 at once", lambda: a_crowd_gets_one_burst_from_all_replicas(fleet)),
        ("rolling restart", lambda: a_rolling_restart_fails_no_request(fleet)),
        ("kill -9", lambda: a_replica_killed_fails_no_request(fleet)),
    ]
    for choice in ("closed", "local", "open"):
        for go, come_back in ((killed, fleet.redis.start), (stopped, goes_on)):
            scenes.append((f"Redis {go.__name__}, on_outage = {choice}",
                           lambda it=(choice, go, come_back): redis_goes_and_comes_back(fleet, *it)))
    try:
        await fleet.start()
        for name, scene in scenes:
            print(f"{name}: {await asyncio.wait_for(scene(), 120)}", flush=True)
    except BaseException:
        for log in sorted(scratch.glob("*.log")):
            lines = [line for line in log.read_text().splitlines() if "signet::audit" not in line]
            print(f"the end of {log.name}:", *lines[-8:], sep="\n", file=sys.stderr)
        raise
    finally:
        fleet.stop()


def main():
    with tempfile.TemporaryDirectory(prefix="fleet-") as scratch:
        asyncio.run(play(pathlib.Path(scratch)))


if __name__ == "__main__":
    main()
