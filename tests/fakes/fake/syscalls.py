"""Runs a function in a fork and kills it, or makes a call to the system fail, at the n-th write, fsync, rename, ...

The kernel stops the fork at its calls (ptrace), so nothing of the code under test is replaced. Linux on x86-64 and
arm64; calls can be made to fail on x86-64 alone. To be used in a process of one thread without other children.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long
TRACEME, POKEUSER, SYSCALL, SETOPTIONS, GET_SYSCALL_INFO = 0, 6, 24, 0x4200, 0x420E
OPTIONS = 0x1 | 0x8 | 0x100000  # syscall stops are marked, threads are followed, the fork dies with its tracer
ENTRY, EXIT = 1, 2
ALL = 0x40000000  # __WALL
ORIG_RAX, RAX = 15 * 8, 10 * 8
X86 = platform.machine() == "x86_64"
CALLS = (
    {1: "write", 18: "pwrite", 20: "writev", 74: "fsync", 75: "fdatasync", 77: "ftruncate", 82: "rename", 83: "mkdir"}
    | {84: "rmdir", 87: "unlink", 257: "openat", 258: "mkdirat", 263: "unlinkat", 264: "renameat", 316: "renameat2"}
    if X86
    else {64: "write", 68: "pwrite", 66: "writev", 82: "fsync", 83: "fdatasync", 46: "ftruncate", 38: "renameat"}
    | {276: "renameat2", 34: "mkdirat", 35: "unlinkat", 56: "openat"}
)


@dataclass(frozen=True)
class End:
    """How the fork ended: its exit code, or minus the signal; how many calls it made; and the one that was met."""

    code: int
    calls: int
    met: str = ""


def possible() -> bool:
    """Whether this kernel lets a process trace its own forks."""
    try:
        return traced(lambda: None).code == 0
    except OSError:
        return False


def ptrace(request: int, pid: int, address: int = 0, data: Any = 0) -> int:
    """The system's call of this name."""
    answer = LIBC.ptrace(request, pid, address, data)
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(answer)


def forked(work: Callable[[], object]) -> int:
    """Do `work` in a fork, which ends with 0, or with 1 and a traceback; its process number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def traced(work: Callable[[], object], *, at: int = 0, fails: int = 0, since: str = "") -> End:
    """Do `work` in a fork; at its call number `at` it is killed, or the call fails with the error number `fails`.

    Calls are counted from the first one that is called `since` on.
    """

    def begin() -> None:
        ptrace(TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        work()

    return follow(forked(begin), at=at, fails=fails, since=since)


def follow(pid: int, *, at: int, fails: int, since: str) -> End:
    """Let a fork run from call to call."""
    os.waitpid(pid, 0)
    ptrace(SETOPTIONS, pid, 0, OPTIONS)
    ptrace(SYSCALL, pid)
    calls, met, failing = 0, "", set()
    while True:
        thread, status = os.waitpid(-1, ALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if thread == pid:
                return End(os.waitstatus_to_exitcode(status), calls, met)
            continue
        passed_on, number = 0, os.WSTOPSIG(status)
        try:
            if number == signal.SIGTRAP | 0x80:
                stop, name = where(thread)
                if stop == ENTRY and name and (calls or name == (since or name)):
                    calls += 1
                    if calls == at:
                        met = name
                        if not fails:
                            os.kill(pid, signal.SIGKILL)
                            continue
                        ptrace(POKEUSER, thread, ORIG_RAX, ctypes.c_void_p(-1))
                        failing.add(thread)
                elif stop == EXIT and thread in failing:
                    failing.discard(thread)
                    ptrace(POKEUSER, thread, RAX, ctypes.c_void_p(-fails))
            elif number not in {signal.SIGTRAP, signal.SIGSTOP}:
                passed_on = number
            ptrace(SYSCALL, thread, 0, passed_on)
        except ProcessLookupError:  # killed in between
            continue


def where(thread: int) -> tuple[int, str]:
    """Whether a stopped thread enters or leaves a call, and the call's name if it changes something on the disk."""
    info = ctypes.create_string_buffer(88)
    ptrace(GET_SYSCALL_INFO, thread, len(info), ctypes.addressof(info))
    stop, number, first, _, flags = struct.unpack_from("<B23xQQQQ", info)
    name = CALLS.get(number, "") if stop == ENTRY else ""
    if (name == "openat" and not flags & os.O_CREAT) or (name == "write" and first <= 2):
        name = ""
    return stop, name
