"""The machine and the packages, beside what Python and pip say."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

from agentnn.tracking.capture.environment import VARIABLES, read_environment
from agentnn.tracking.capture.redaction import Redactor

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_packages_are_those_of_pip():
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
        capture_output=True,
        check=True,
    )
    expected = {one["name"]: one["version"] for one in json.loads(answer.stdout)}
    # In a process of its own: Ray, once another test has imported it, adds the packages that it brings to sys.path.
    code = """
import json
from agentnn.tracking.capture.environment import read_environment
from agentnn.tracking.capture.redaction import Redactor
found = read_environment(Redactor({}))
print(json.dumps([dict(found.packages), found.requirements]))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    packages, requirements = json.loads(told.stdout)
    assert packages == expected
    assert f"numpy=={expected['numpy']}\n" in requirements


def test_the_machine():
    found = read_environment(Redactor({}))
    assert (found.python, found.machine) == (platform.python_version(), platform.machine())
    assert found.usable_cpus == len(os.sched_getaffinity(0))
    total = int(subprocess.run(["free", "-b"], capture_output=True, check=True).stdout.split(b"Mem:")[1].split()[0])
    assert found.memory_bytes == total
    json.dumps(found.to_dict())


def test_of_the_environment_only_listed_variables_are_recorded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("DB_PASSWORD", "s3cr3t-Swordfish")
    monkeypatch.setenv("HARMLESS", "s3cr3t-Swordfish")
    monkeypatch.setenv("TZ", "s3cr3t-Swordfish")
    found = read_environment(Redactor())
    assert found.variables["OMP_NUM_THREADS"] == "3"
    assert set(found.variables) <= set(VARIABLES)
    assert "Swordfish" not in json.dumps(found.to_dict())


def test_graphics_processors_are_those_of_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA A100-SXM4-40GB, 40960, 550.54.15'\necho 'odd line'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    [gpu] = read_environment(Redactor({})).gpus
    assert (gpu.name, gpu.memory_bytes, gpu.driver) == ("NVIDIA A100-SXM4-40GB", 40 << 30, "550.54.15")
    program.write_text("#!/bin/sh\nexit 9\n")
    assert read_environment(Redactor({})).gpus == ()
