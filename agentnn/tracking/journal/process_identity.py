"""Who a process is, so that nobody takes another one with the same number for it."""

from __future__ import annotations

import getpass
import json
import os
import socket
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process of a machine since its last start.

    Attributes:
        host: The machine's name.
        boot: The kernel's id of this start of the machine; empty where it has none.
        pid: The process's number, which the kernel gives to others after its end.
        started: When the process started, in the kernel's own words; with the pid it names one process.
    """

    host: str
    boot: str
    pid: int
    started: str

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ProcessIdentity | None:
        """What :meth:`to_json` wrote; ``None`` for anything else."""
        try:
            found = json.loads(text)
            return cls(str(found["host"]), str(found["boot"]), int(found["pid"]), str(found["started"]))
        except (ValueError, TypeError, KeyError):
            return None

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.host == _host()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs; only this machine can tell, so it must be :attr:`is_here`."""
        return self.boot == _boot() and _start_of(self.pid) == self.started


def this_process() -> ProcessIdentity:
    """The identity of the process that asks."""
    pid = os.getpid()
    return ProcessIdentity(_host(), _boot(), pid, _start_of(pid))


def user_name() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())


@cache
def _host() -> str:
    return socket.gethostname()


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """When a process started; empty when there is none, and for a zombie, which has ended.

    On Linux field 22 of ``/proc/PID/stat``, in clock ticks since the start of the machine (proc_pid_stat(5)); elsewhere
    what ``ps`` says, to the second.
    """
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:
            return ""
        fields = stat.rpartition(b")")[2].split()
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")
    asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return asked.stdout.strip()
