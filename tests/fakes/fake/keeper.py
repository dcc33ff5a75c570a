"""What a cluster of `fake.cluster` leaves on a machine, and the process that clears it away.

That is `python keeper.py FOLDER MODE NODES`: it waits until it is told to, or its parent is gone.
"""

from __future__ import annotations

import hashlib
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

HOSTS = Path("/etc/hosts")
NETS = [f"10.211.{number}" for number in range(1, 255)]  # of clusters with links, one each
ENTER = 'hostname "$1"; mount --bind "$2" /etc/hosts; mount --bind "$3" /etc/resolv.conf; shift 3; exec "$@"'


def search() -> str:
    """PATH with the folders of daemons, which ordinary users often lack."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def best() -> str:
    """The mode in which nodes differ most, of those that this user may have."""

    def allowed(*flags: str) -> bool:
        return not subprocess.run(["unshare", *flags, "true"], capture_output=True, check=False).returncode

    if not shutil.which("unshare") or not allowed("--uts", "--mount"):
        return "plain"
    tools = shutil.which("ip", path=search()) and shutil.which("nsenter")
    return "netns" if tools and allowed("--uts", "--mount", "--net") else "uts"


def keep(folder: Path, *, mode: str, nodes: int) -> subprocess.Popen[bytes]:
    """Start the keeper, which no signal to this process' group ends."""
    command = [sys.executable, "-S", __file__, str(folder), mode, str(nodes)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def main(folder: Path, mode: str, nodes: int) -> None:
    """Wait, then clear everything away; of a parent that is gone also what it has started with this SLURM_CONF."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent, told = os.getppid(), b""
    while os.getppid() == parent:
        if select.select([0], [], [], 0.5)[0]:
            told = os.read(0, 16)
            break
    conf = folder / "slurm.conf"
    kill(lambda: processes(conf) if told else processes(conf, tasks=False))
    unname(folder)
    if mode == "netns":
        unwire(link(folder), nodes=nodes)


def processes(conf: Path, *, node: str = "", tasks: bool = True) -> list[int]:
    """Processes of a cluster, or of one of its nodes, with all that they have started.

    They know the cluster by its configuration, and which node they are of; with `tasks=False` the former is enough.
    """
    known, parents = set(), {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            parents[int(path.name)] = int((path / "stat").read_bytes().rpartition(b")")[2].split()[1])
            about = (path / "environ").read_bytes().split(b"\0")
            of = f"SLURMD_NODENAME={node}".encode()
            mine = any(item == of if node else item.startswith(of) for item in about) or not tasks
            if mine and f"SLURM_CONF={conf}".encode() in about:
                known.add(int(path.name))
    found = set(known)
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {os.getpid()})


def kill(ask: Callable[[], Iterable[int]], *, seconds: float = 10.0) -> list[int]:
    """SIGKILL until nobody is left; returns whom."""
    killed: set[int] = set()
    until = time.monotonic() + seconds
    while (found := [number for number in ask() if alive(number)]) and time.monotonic() < until:
        for number in found:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        killed |= set(found)
        time.sleep(0.02)
    return sorted(killed)


def alive(number: int) -> bool:
    """Whether a process is there and no zombie."""
    with suppress(OSError):
        return Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    return False


def free_ports(count: int) -> list[int]:
    """Ports below those that the kernel hands out by itself, which nobody listens to now."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(12000, 32000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("", port))
            found += [port] * (port not in found)
    return found


def mark(folder: Path) -> str:
    """What ends the lines of a cluster in the table of hosts."""
    return f"# {folder}"


def name(folder: Path, lines: Sequence[str], *, own: bool) -> None:
    """Let names be found: by a table of the nodes' `own`, else by lines in that of this machine, if it may be had."""
    before = HOSTS.read_text(encoding="utf-8") if HOSTS.is_file() else ""
    marked = "".join(f"{line} {mark(folder)}\n" for line in lines)
    if own:
        (folder / "hosts").write_text(marked + before, encoding="utf-8")  # the first is taken
        (folder / "resolv.conf").write_text(
            "options timeout:1 attempts:1\n", encoding="utf-8"
        )  # there is nobody to ask
    elif os.access(HOSTS, os.W_OK):
        with HOSTS.open("a", encoding="utf-8") as file:
            file.write(marked if before.endswith("\n") else f"\n{marked}")


def unname(folder: Path) -> None:
    """Take a cluster's lines out of the table of hosts, in place: in containers it is mounted."""
    lines = HOSTS.read_text(encoding="utf-8").splitlines(keepends=True) if HOSTS.is_file() else []
    kept = [line for line in lines if not line.rstrip().endswith(mark(folder))]
    if kept != lines:
        HOSTS.write_text("".join(kept), encoding="utf-8")


def link(folder: Path) -> str:
    """The name of a cluster's bridge, and of its links and namespaces with a number behind it."""
    return "s" + hashlib.sha256(str(folder).encode()).hexdigest()[:8]


def wire(bridge: str, *, nodes: int) -> list[str]:
    """A network namespace a node, each linked to a bridge; returns the bridge's address, then the nodes'."""
    net = random.SystemRandom().choice([net for net in NETS if f" {net}." not in ip("-4 -brief address")])
    ip(f"link add {bridge} type bridge", f"addr add {net}.1/24 dev {bridge}", f"link set {bridge} up")
    addresses = [f"{net}.{10 + number}" for number in range(1, nodes + 1)]
    for number, address in enumerate(addresses, start=1):
        own = f"{bridge}-{number}"
        ip(
            f"netns add {own}",
            f"link add {own} type veth peer name eth0 netns {own}",
            f"link set {own} master {bridge} up",
        )
        ip("link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up", inside=own)
        ip(f"route add default via {net}.1", inside=own)
    return [f"{net}.1", *addresses]


def unwire(bridge: str, *, nodes: int) -> None:
    """Take it all away, as far as it is there."""
    for command in [f"netns del {bridge}-{number}" for number in range(1, nodes + 1)]:
        with suppress(AssertionError):
            ip(command)
    for own in (*(f"{bridge}-{number}" for number in range(1, nodes + 1)), bridge):
        with suppress(AssertionError):
            ip(f"link del {own}")


def ip(*commands: str, inside: str = "") -> str:
    """What commands of iproute2 say, `inside` a namespace; AssertionError where one fails."""
    tool, said = shutil.which("ip", path=search()), []
    for command in commands:
        given = [str(tool), *(["-n", inside] if inside else []), *command.split()]
        done = subprocess.run(given, capture_output=True, text=True, check=False)
        assert not done.returncode, f"ip {command}: {done.stderr}"
        said.append(done.stdout)
    return "".join(said)


def entry(folder: Path, *, mode: str, node: int) -> list[str]:
    """What stands before the command of a node's daemon, to run it within the node."""
    own = [
        "unshare",
        "--uts",
        "--mount",
        "sh",
        "-ec",
        ENTER,
        "-",
        f"node{node}",
        f"{folder}/hosts",
        f"{folder}/resolv.conf",
    ]
    if mode == "netns":
        return ["nsenter", f"--net=/run/netns/{link(folder)}-{node}", *own]
    return own if mode == "uts" else []


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
