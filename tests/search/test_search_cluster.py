"""A Ray cluster of three machines, network namespaces here: one is cut off, one is killed, and the search goes on."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from search_cases import World, brute_front, study, summary
from search_processes import beside, children
from test_search_contract import check_projection

from nas.store import State

HERE = Path(__file__).parent
LEASE = 5.0
TRIALS, EPOCHS, SLEEP = 30, 8, 0.2
MACHINES = {"head": 1, "one": 2, "two": 3}      # and the last byte of their addresses
HEAD = "10.77.0.1:6379"
QUICK = {       # a machine that does not answer is given up after about three seconds, not after half a minute
    "RAY_health_check_initial_delay_ms": "1000", "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000", "RAY_health_check_failure_threshold": "3",
}


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


@dataclass
class Cluster:
    """Machines on a bridge that is in the head's namespace; they share the file system, and so each has its folder."""

    folder: Path
    environment: dict[str, str]

    @staticmethod
    def namespace(machine: str) -> str:
        return f"nas-{os.getpid()}-{machine}"

    def connect(self) -> None:
        head = self.namespace("head")
        for machine, number in MACHINES.items():
            own, address = self.namespace(machine), f"10.77.0.{number}/24"
            ip("netns", "add", own)
            ip("-n", own, "link", "set", "lo", "up")
            if machine == "head":
                ip("-n", head, "link", "add", "bridge", "type", "bridge")
                ip("-n", head, "addr", "add", address, "dev", "bridge")
                ip("-n", head, "link", "set", "bridge", "up")
            else:
                ip("-n", head, "link", "add", machine, "type", "veth", "peer", "name", "eth0", "netns", own)
                ip("-n", head, "link", "set", machine, "master", "bridge", "up")
                ip("-n", own, "addr", "add", address, "dev", "eth0")
                ip("-n", own, "link", "set", "eth0", "up")

    def cut(self, machine: str) -> None:
        ip("-n", self.namespace("head"), "link", "set", machine, "down")

    def mend(self, machine: str) -> None:
        ip("-n", self.namespace("head"), "link", "set", machine, "up")

    def run(self, machine: str, *command: str, **variables: str) -> subprocess.Popen[str]:
        """A process on a machine, at the head of a session of its own."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.namespace(machine), sys.executable, *command], start_new_session=True,
            env=self.environment | variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def start(self, machine: str) -> None:
        """Ray on a machine; only the workers have a core to train on."""
        joining = ["--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false"] if machine == "head" else \
            [f"--address={HEAD}", "--num-cpus=1"]
        process = self.run(
            machine, "-m", "ray.scripts.scripts", "start", *joining, f"--node-ip-address=10.77.0.{MACHINES[machine]}",
            f"--temp-dir={self.folder / machine}", "--object-store-memory=100000000")
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said

    def processes(self, machine: str) -> dict[int, str]:
        """Process number and command line of what is alive on a machine."""
        found = {}
        for number in map(int, ip("netns", "pids", self.namespace(machine)).split()):
            with contextlib.suppress(OSError):
                found[number] = Path(f"/proc/{number}/cmdline").read_text().replace("\0", " ")
        return {number: line for number, line in found.items() if line}

    def workers(self, machine: str) -> set[int]:
        """The processes that train."""
        return {number for number, line in self.processes(machine).items() if "Trainable" in line}

    def kill(self, machine: str) -> None:
        """A machine without power: all its processes at once."""
        deadline = time.monotonic() + 20
        while (alive := self.processes(machine)) and time.monotonic() < deadline:
            for number in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            time.sleep(0.05)
        assert not alive

    def remove(self) -> None:
        there = ip("netns", "list").split()
        for machine in MACHINES:
            if self.namespace(machine) in there:
                self.kill(machine)
                ip("netns", "delete", self.namespace(machine))


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Ray on three machines, with a token of its own."""
    if shutil.which("ip") is None:
        pytest.skip("no network namespaces here: there is no ip command")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join(filter(None, [str(HERE), ours.get("PYTHONPATH")]))
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    folder = Path(tempfile.mkdtemp(prefix="nas-ray-"))      # a short name: Ray's sockets are in it
    made = Cluster(folder, ours | QUICK | token | {"PYTHONPATH": path})
    try:
        try:
            made.connect()
        except OSError as error:
            pytest.skip(f"no network namespaces here: {error}")
        for machine in MACHINES:
            made.start(machine)
        yield made
    finally:
        with contextlib.suppress(OSError):
            made.remove()
        shutil.rmtree(folder, ignore_errors=True)


def wait(until: Callable[[], object], process: subprocess.Popen[str], seconds: float = 60) -> None:
    """Until something holds while a search is running."""
    deadline = time.monotonic() + seconds
    while not until():
        assert process.poll() is None, "it ended before that"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_machines_that_are_cut_off_and_killed(cluster: Cluster, tmp_path: Path, postgres_url: str) -> None:
    """All trials end as if nothing had happened, each once; what was lost with a machine is trained again."""
    world = World(tmp_path, url=postgres_url, lease=LEASE)
    wanted = study(trials=TRIALS, stopping="none", epochs=EPOCHS)
    process = cluster.run("head", str(HERE / "search_main.py"), str(tmp_path), HEAD, str(TRIALS), str(SLEEP),
                          str(LEASE), postgres_url, NAS_TEST_EPOCHS=str(EPOCHS))

    def begun() -> int:
        return len(world.fake.started())

    wait(lambda: begun() >= 4 and cluster.workers("one") and cluster.workers("two"), process)
    cluster.cut("one")
    before = begun()
    time.sleep(2 * LEASE)
    assert begun() > before + 1, "the other machine goes on"
    cluster.mend("one")
    # Ray on a machine that was given up ends by itself once it hears of it; what supervises it there starts it again.
    wait(lambda: not any("raylet/raylet" in line for line in cluster.processes("one").values()), process)
    cluster.kill("one")
    cluster.start("one")
    wait(lambda: cluster.workers("one"), process)
    before, back = begun(), cluster.workers("one")
    wait(lambda: begun() > before + 3, process)
    assert cluster.workers("one") == back, "a worker that starts is left to start, however fast the others are"
    cluster.kill("two")

    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    deadline = time.monotonic() + 10
    while cluster.workers("one") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not cluster.workers("one")
    assert children(process.pid) == {}

    trials = world.trials()
    assert [(t.number, t.state) for t in trials] == [(n, State.COMPLETE) for n in range(TRIALS)]
    assert len({t.architecture_id for t in trials}) == TRIALS
    assert {n: [e.epoch for e in curve] for n, curve in world.ledger.epochs("fake").items()} == {
        n: list(range(1, EPOCHS + 1)) for n in range(TRIALS)}
    again = {n: times for n, times in Counter(n for n, _ in world.fake.started()).items() if times > 1}
    assert set(again.values()) <= {2}
    assert len(again) <= 2, "no more than ran on the two machines"
    lost = [line for line in said.splitlines() if line.startswith("the worker of trial")]
    assert len(lost) == 2, said
    assert all("its node has died" in line or "is unavailable" in line for line in lost), lost
    check_projection(world)

    straight = World(beside(tmp_path))
    straight.search(wanted)
    assert summary(trials) == summary(straight.trials()), "as if all machines had been there"
    work = begun()
    driver = world.search(wanted)
    assert begun() == work, "nothing is left to do"
    assert {t.number for t in driver.front()} == brute_front(trials, wanted)
    for one in (world, straight):
        one.ledger.close()
