"""The SLURM of the tests: jobs run on its nodes, a node dies whole and comes back, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "fakes"))
from fake import keeper
from fake.cluster import Cluster, lacking

FAKES = Path(__file__).resolve().parents[2] / "fakes"
pytestmark = [
    pytest.mark.xdist_group("slurm"),
    pytest.mark.skipif(
        bool(lacking()) and os.environ.get("DIT_VIDEO_NEEDS_SLURM") != "1",
        reason=f"no {', '.join(lacking())} here; apt-get install slurmctld slurmd slurm-client munge",
    ),
]
HELD = """
import sys, time
from pathlib import Path
from fake.cluster import Cluster
with Cluster(Path(sys.argv[1]), nodes=1, mode="plain") as cluster:
    cluster.submit(script="sleep 600")
    cluster.until(lambda: cluster.states(1) == ["RUNNING"])
    print("runs", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("mode", ["plain", keeper.best()])
def test_two_at_once_and_nothing_left(tmp_path: Path, mode: str) -> None:
    """Jobs run, each on its own cluster; a node that is killed has nothing left, and comes back."""
    hosts = keeper.HOSTS.read_text(encoding="utf-8")
    before = os.environ.get("SLURM_CONF")
    with Cluster(tmp_path / "a", nodes=2, mode=mode) as one:
        with Cluster(tmp_path / "b", nodes=1, mode="plain") as other:
            names = one.client("srun", "-N2", "sh", "-c", "echo $SLURMD_NODENAME").split()
            assert sorted(names) == ["node1", "node2"]
            held = one.submit("-N2", "--ntasks=2", script="srun sleep 600")
            one.until(lambda: len(keeper.processes(one.conf, node="node2")) > 2, job=held)
            assert one.kill_node(2)
            assert not keeper.processes(one.conf, node="node2")
            assert keeper.processes(one.conf, node="node1")
            one.revive(2)
            one.client("scancel", held)
            assert one.wait(held) == "CANCELLED"
            one.idle()
            assert other.wait(other.submit(script="exit 3")) == "FAILED"
        assert not keeper.processes(other.conf)
        one.idle()
    assert not keeper.processes(one.conf)
    assert keeper.HOSTS.read_text(encoding="utf-8") == hosts
    assert os.environ.get("SLURM_CONF") == before


def test_names_lead_to_the_nodes(tmp_path: Path) -> None:
    """Each node has its own address in mode netns, and a link that can be cut; else its own host name."""
    mode = keeper.best()
    with Cluster(tmp_path, nodes=2) as cluster:
        told = cluster.client("srun", "-N2", "sh", "-c", "echo $(hostname) $(getent hosts node2)").splitlines()
        names = {line.split()[0] for line in told}
        addresses = {line.split()[1] for line in told}
        assert len(names) == (1 if mode == "plain" else 2)
        assert len(addresses) == 1
        if mode == "netns":
            assert addresses != {"127.0.0.1"}
            cluster.cut(2)
            reach = ["srun", "-N1", "-w", "node1", "timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/node2/22"]
            done = subprocess.run(reach, text=True, capture_output=True, check=False)
            assert done.returncode == 124 or "No route" in done.stderr, done
            cluster.cut(2, whole=True)
            done = subprocess.run(reach, text=True, capture_output=True, check=False)
            assert "refused" in done.stderr, done


def test_a_killed_test_leaves_nothing(tmp_path: Path) -> None:
    """SIGKILL to who holds it ends daemons, jobs and names."""
    environment = {**os.environ, "PYTHONPATH": str(FAKES)}
    holder = subprocess.Popen(
        [sys.executable, "-c", HELD, tmp_path], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "runs\n"
    conf = tmp_path.resolve() / "slurm.conf"
    assert len(keeper.processes(conf)) > 3
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    until = time.monotonic() + 10
    while keeper.processes(conf, tasks=False) or keeper.mark(tmp_path) in keeper.HOSTS.read_text(encoding="utf-8"):
        assert time.monotonic() < until, keeper.processes(conf)
        time.sleep(0.1)
