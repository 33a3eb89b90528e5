"""The machine and the packages that a run has used. The environment is recorded by an allow-list."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.tracking.capture.redaction import Redactor

VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG"),
    *("CUDA_LAUNCH_BLOCKING", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ENABLE_MPS_FALLBACK", "NVIDIA_TF32_OVERRIDE"),
    *("OMP_NUM_THREADS", "OMP_PROC_BIND", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("PYTHONHASHSEED", "PYTHONOPTIMIZE", "RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_JOB_ID", "SLURM_NTASKS"),
    *("SLURM_CPUS_PER_TASK", "SLURM_JOB_PARTITION", "CONDA_DEFAULT_ENV", "LANG", "LC_ALL", "TZ"),
)
"""All that is recorded of the environment: what changes numbers, threads or devices, and names no secret."""

_GPU_TIMEOUT_S = 5.0
_GPU_QUESTION = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics processor, as ``nvidia-smi`` names it."""

    name: str
    memory_bytes: int
    driver: str


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a run ran.

    Attributes:
        python: Version of Python.
        implementation: ``CPython``.
        platform: The operating system in one line.
        machine: ``x86_64``.
        hostname: The machine's name.
        cpu: The processor's name; empty where it is not known.
        cpus: Logical processors of the machine.
        usable_cpus: Those that this process may use.
        memory_bytes: Physical memory; ``None`` where it is not known.
        gpus: Graphics processors.
        arguments: The command line without what may be secret.
        variables: What of :data:`VARIABLES` is set.
        packages: Version by name of every installed distribution.
    """

    python: str
    implementation: str
    platform: str
    machine: str
    hostname: str
    cpu: str
    cpus: int | None
    usable_cpus: int | None
    memory_bytes: int | None
    gpus: tuple[Gpu, ...]
    arguments: tuple[str, ...]
    variables: Mapping[str, str]
    packages: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        found = asdict(self)
        return {**found, "gpus": list(found["gpus"]), "arguments": list(self.arguments)}

    @property
    def requirements(self) -> str:
        """The packages as the lines of a requirements file."""
        return "".join(f"{name}=={version}\n" for name, version in self.packages.items())


def read_environment(redactor: Redactor) -> Environment:
    """Look around; nothing is imported for it, and only ``nvidia-smi`` is run, where it is there.

    Args:
        redactor: Strikes secrets out of the command line and of the variables.
    """
    return Environment(
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        platform=platform.platform(),
        machine=platform.machine(),
        hostname=platform.node(),
        cpu=_cpu_name(),
        cpus=os.cpu_count(),
        usable_cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        memory_bytes=_memory_bytes(),
        gpus=_gpus(),
        arguments=(Path(sys.argv[0]).name, *redactor.arguments(sys.argv[1:])) if sys.argv else (),
        variables={name: redactor.known(os.environ[name]) for name in VARIABLES if name in os.environ},
        packages=_packages(),
    )


def _packages() -> dict[str, str]:
    """Names and versions alone: where a package came from may name a token."""
    found: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        with suppress(KeyError, TypeError, ValueError):  # a half-removed package has no metadata
            name, version = one.metadata["Name"], one.version
            if name and version:
                found.setdefault(str(name), str(version))
    return dict(sorted(found.items(), key=lambda entry: entry[0].casefold()))


def _cpu_name() -> str:
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith(("model name", "Model\t")):
                return line.partition(":")[2].strip()
    return platform.processor()


def _memory_bytes() -> int | None:
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _gpus() -> tuple[Gpu, ...]:
    try:
        done = subprocess.run(
            _GPU_QUESTION, stdin=subprocess.DEVNULL, capture_output=True, timeout=_GPU_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    found = []
    for line in done.stdout.decode(errors="replace").splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 3:
            megabytes = int(parts[1]) if parts[1].isdigit() else 0
            found.append(Gpu(parts[0], megabytes << 20, parts[2]))
    return tuple(found)
