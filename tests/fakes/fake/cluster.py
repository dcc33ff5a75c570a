"""A SLURM of several nodes on this machine, for tests: its own munged and slurmctld, and a slurmd for each node.

- Everything stands in one folder and listens on ports of its own, so that several clusters run at once.
- In every process of a node SLURMD_NODENAME and SLURM_CONF are set, by us in its slurmd, by SLURM in its tasks: so a
  node is found, and killed, in every mode.
- A keeper, a process of its own, ends all of it when the block is left or its process is gone.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Literal

from fake import keeper

Mode = Literal["plain", "uts", "netns", "auto"]
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")
OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}
CONTROL = "control"  # the node of slurmctld and munged


def lacking() -> list[str]:
    """Programs of SLURM that are not installed here."""
    return [program for program in NEEDED if shutil.which(program, path=keeper.search()) is None]


class Cluster:
    """Within its block the cluster `node1` to `nodeN` runs, and SLURM_CONF names it.

    `mode`: plain, where nodes differ by their ports alone and nothing needs to be allowed; uts, where each has a host
    name; netns, where each has an address and a link too, which `cut` cuts; auto takes the last that can be had.
    `silence`, `grace` and `kill_wait` are SLURM's SlurmdTimeout, GraceTime (of `main`) and KillWait in seconds.
    A job that is preempted gets the signal of its --signal if it is `warned`, else SIGTERM.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 3,
        mode: Mode = "auto",
        cpus: int = 4,
        silence: int = 12,
        grace: int = 20,
        kill_wait: int = 5,
        warned: bool = True,
    ) -> None:
        self.folder = folder.resolve()
        self.nodes, self.cpus = nodes, cpus
        self.mode = keeper.best() if mode == "auto" else mode
        self.settings: dict[str, object] = {"silence": silence, "grace": grace, "kill_wait": kill_wait}
        self.settings["warning"] = warning() if warned else ""
        self.conf = self.folder / "slurm.conf"
        self.environment = {"SLURM_CONF": str(self.conf)}
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.keeper: subprocess.Popen[bytes] | None = None
        self.before: str | None = None

    def __enter__(self) -> Cluster:
        if missing := lacking():
            raise AssertionError(f"no {', '.join(missing)} here; apt-get install slurmctld slurmd slurm-client munge")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.keeper = keeper.keep(self.folder, mode=self.mode, nodes=self.nodes)
        self.before = os.environ.get("SLURM_CONF")
        os.environ |= self.environment
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self.logs())
        self.stop()

    def start(self) -> None:
        """Write the configuration, start all daemons, and wait until every node is idle."""
        configure(self)
        run = self.daemon
        key = os.open(self.folder / "munge.key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(key, os.urandom(128))
        os.close(key)
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
        files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
        given = [f"--{name}={self.folder / file}" for name, file in files.items()]
        run(CONTROL, ["munged", "--foreground", "--force", *given])  # it has doubts about folders that all may write to
        until((self.folder / "munge.socket").exists, 20, what="munged", more=self.logs)
        run(CONTROL, ["slurmctld", "-D", "-f", str(self.conf)])
        for node in range(1, self.nodes + 1):
            self.revive(node)
        self.idle()

    def daemon(self, node: str, command: Sequence[str]) -> None:
        """Start a daemon, which is a process of `node`."""
        environment = {**os.environ, **self.environment, "PATH": keeper.search(), "SLURMD_NODENAME": node}
        with (self.folder / "daemons.log").open("ab") as log:
            started = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        self.daemons = [item for item in self.daemons if item.poll() is None] + [started]

    def stop(self) -> None:
        """End all that is the cluster's: daemons, jobs, names, links. What was written stays in the folder."""
        if self.keeper is not None:
            self.keeper.communicate(b"stop\n")
            self.keeper = None
        for process in self.daemons:
            process.wait(10)
        os.environ.pop("SLURM_CONF", None)
        if self.before is not None:
            os.environ["SLURM_CONF"] = self.before

    def revive(self, node: int) -> None:
        """Start the slurmd of a node, which is then on its way to being idle."""
        command = ["slurmd", "-D", "-f", str(self.conf), "-N", f"node{node}"]
        self.daemon(f"node{node}", [*keeper.entry(self.folder, mode=self.mode, node=node), *command])

    def kill_node(self, node: int) -> list[int]:
        """SIGKILL to all of a node at once: slurmd, steps, tasks and what they started; returns what was killed."""
        return keeper.kill(lambda: keeper.processes(self.conf, node=f"node{node}"))

    def cut(self, node: int, *, whole: bool = False) -> None:
        """Cut the link of a node, or make it `whole` again; its processes go on. Needs mode netns."""
        assert self.mode == "netns", f"nodes have no links of their own in mode {self.mode}"
        keeper.ip(f"link set {keeper.link(self.folder)}-{node} {'up' if whole else 'down'}")

    def client(self, *command: str, seconds: float = 20.0) -> str:
        """The standard output of one of SLURM's commands; AssertionError with all it says where it fails."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=seconds, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}{done.stdout}"
        return done.stdout

    def submit(self, *arguments: str | Path, script: str = "") -> str:
        """`sbatch` with a script by its path or its text; returns the job's id. Its output goes into the folder."""
        path = self.folder / f"job-{time.monotonic_ns()}.sbatch"
        if script:
            path.write_text(script if script.startswith("#!") else f"#!/bin/sh\n{script}\n", encoding="utf-8")
            arguments = (*arguments, path)
        output = (
            []
            if any(str(item).startswith(("-o", "--output")) for item in arguments)
            else [f"--output={self.folder}/%j.out"]
        )
        return self.client("sbatch", "--parsable", *output, *map(str, arguments)).strip().partition(";")[0]

    def job(self, job: str | int) -> dict[str, str]:
        """What `scontrol show job` says of a job; of an array's task by its own id, `1_2`."""
        line = self.client("scontrol", "show", "job", "--oneliner", str(job)).splitlines()[0]
        return dict(item.partition("=")[::2] for item in line.split() if "=" in item)

    def states(self, job: str | int) -> list[str]:
        """States of a job, or of all tasks of an array, each once."""
        lines = self.client("scontrol", "show", "job", "--oneliner", str(job)).splitlines()
        found = [item.partition("=")[2] for line in lines for item in line.split() if item.startswith("JobState=")]
        return sorted(set(found))

    def wait(self, job: str | int, seconds: float = 120.0) -> str:
        """Wait for the end of a job, or of all tasks of an array, and return its state, several with a blank."""

        def over() -> bool:
            return all(state in OVER for state in self.states(job))

        until(over, seconds, what=f"job {job}", more=lambda: self.tell(job))
        return " ".join(self.states(job))

    def until(
        self, condition: Callable[[], object], seconds: float = 60.0, *, what: str = "", job: str | int = ""
    ) -> None:
        """Wait until something holds; AssertionError with the logs, and the output of a job, past the limit."""
        until(condition, seconds, what=what, more=lambda: self.tell(job) if job else self.logs())

    def idle(self, seconds: float = 60.0) -> None:
        """Wait until every node is idle."""

        def all_idle() -> bool:
            with suppress(AssertionError, subprocess.TimeoutExpired):
                return self.client("sinfo", "-h", "-p", "main", "-o", "%t %D") == f"idle {self.nodes}\n"
            return False

        until(all_idle, seconds, what=f"{self.nodes} idle nodes", more=self.logs)

    def tell(self, job: str | int) -> str:
        """The logs, what a job is, and what it has written."""
        about = self.job(job)
        return f"{self.logs()}\n--- {about}\n{tail(Path(about.get('StdOut', '')), lines=60)}"

    def logs(self) -> str:
        """The last lines of all logs."""
        return "\n".join(f"--- {path.name}\n{tail(path)}" for path in sorted(self.folder.glob("*.log")))


def warning() -> str:
    """The setting by which the signal of --signal announces a preemption too: it has had two names."""
    told = subprocess.run(
        ["slurmctld", "-V"], env={"PATH": keeper.search()}, text=True, capture_output=True, check=True
    )
    version = told.stdout.split()[-1].split(".")
    new = (int(version[0]), int(version[1])) >= (23, 2)
    return "PreemptParameters=send_user_signal" if new else "SlurmctldParameters=preempt_send_user_signal"


def tail(path: Path, *, lines: int = 15) -> str:
    """The last lines of a file, if there is one."""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]) if path.is_file() else ""


def until(condition: Callable[[], object], seconds: float, *, what: str, more: Callable[[], str]) -> None:
    """Ask again and again; AssertionError with `more` after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s\n{more()}"
        time.sleep(0.1)


def configure(cluster: Cluster) -> None:
    """Write slurm.conf and the files that pass for GPUs, let the nodes' names be found, and lay the links of netns."""
    folder, count = cluster.folder, cluster.nodes
    (folder / "state").mkdir(exist_ok=True)
    names = [f"node{number}" for number in range(1, count + 1)]
    address, *addresses = ["127.0.0.1"] * (count + 1)
    if cluster.mode == "netns":
        address, *addresses = keeper.wire(keeper.link(folder), nodes=count)
    keeper.name(
        folder, [f"{at} {name}" for at, name in zip(addresses, names, strict=True)], own=cluster.mode != "plain"
    )
    host, (port, *ports) = socket.gethostname().partition(".")[0], keeper.free_ports(count + 1)
    about = f"CPUs={cluster.cpus} RealMemory=16000 Gres=gpu:2 State=UNKNOWN"
    nodes = [
        f"NodeName={name} NodeHostname={name if cluster.mode == 'netns' else host} NodeAddr={at} Port={own} {about}"
        for name, at, own in zip(names, addresses, ports, strict=True)
    ]
    near = (
        "" if cluster.mode == "netns" else "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny"
    )  # nobody else can reach it
    filled = {"host": host, "address": address, "port": port, "user": getpass.getuser(), "listen": near}
    filled |= {"folder": folder, "nodes": "\n".join(nodes)} | cluster.settings
    template = Template((Path(__file__).parent / "slurm.conf").read_text(encoding="utf-8"))
    cluster.conf.write_text(template.substitute(filled), encoding="utf-8")
    for number in range(2):
        (folder / f"gpu{number}").touch()
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-1]\n", encoding="utf-8")
