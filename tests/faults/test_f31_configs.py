"""F31: a configuration that is a bomb, deep, empty or ambiguous is exit 2 with its line, soon and in little memory."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from cli.support import EXECUTABLE, agentnn, environment

if TYPE_CHECKING:
    from pathlib import Path

MEBIBYTE = 1 << 20
SOON_S = 60.0
"""Far more than the second that it takes, since this machine may be busy; a bomb that went off would take for ever."""

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{name}: &{name} {{{', '.join(f'k{number}: *{before}' for number in range(9))}}}\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
UNKNOWN = "training:\n" + "".join(f"  k{number}: 1\n" for number in range(40_000))
UNKNOWN_SEARCHES = "hpo:\n  param_space:\n" + "".join(f"    k{number}: [1]\n" for number in range(12_000))
TWICE = "training:\n  epochs: 1\n  seed: 2\n  epochs: 3\n"
OBJECT = "model:\n  params: {a: !!python/object/apply:os.system [touch owned]}\n"
HOSTILE = {
    "laughs": (LAUGHS, ":5: e: holds more than 50,000 values"),
    "laughing mappings": (MERGES, ":6: f: holds more than 50,000 values"),
    "brackets": ("a: 1\nb: " + "[" * 500_000, ":2: b[0][0]: is nested more than 32 deep"),
    "braces": ("a: " + "{a: " * 200_000, ":1: a.a.a: is nested more than 32 deep"),
    "dashes": ("- " * 400_000, ": is nested more than 32 deep"),
    "indented": ("".join(" " * depth + "k:\n" for depth in range(1000)), ":33: k.k.k: is nested more than 32 deep"),
    "question marks": ("? " * 400_000, ":1: a key must be text"),
    "a large list": ("a:\n" + "  - 1\n" * 170_000, ": holds more than 50,000 values"),
    "a large file": ("# " + "x" * MEBIBYTE, ": is larger than 1 MiB"),
    "a long number": ("training:\n  epochs: " + "9" * 900_000, ":2: training.epochs: the number 9"),
    "a long hexadecimal number": ("training:\n  epochs: 0x" + "f" * 900_000, ":2: training.epochs: the number 0xf"),
    "a huge number": ("training:\n  learning_rate: 1e999", ":2: training.learning_rate: the number 1e999 is too large"),
    "many unknown keys": (UNKNOWN, ":2: training.k0: unknown key"),
    "many unknown searches": (UNKNOWN_SEARCHES, ":3: hpo.param_space.k0: unknown key"),
    "many duplicates": ("training: {}\n" * 20_000, ":2: training: is given twice: first in line 1"),
    "duplicate keys": (TWICE, ":4: training.epochs: is given twice: first in line 2"),
    "empty": ("", ":1: is empty"),
    "only comments": ("# nothing\n\n", ":1: is empty"),
    "a list": ("- a\n", ":1: expected a mapping of sections, not a list"),
    "no": ("training:\n  deterministic: no\n", ":2: training.deterministic: expected true or false, not 'no'"),
    "objects": (OBJECT, ":2: model.params.a: the tag !!python/object/apply:os.system is not allowed"),
    "an anchor in itself": ("a: 1\nb: &b [1, *b]\n", ":2: b[1]: *b stands inside of &b itself"),
    "NUL": ("a: 1\nb: \0\n", ": is not YAML"),
    "garbage": ("%" * 500_000, ":1: is not YAML"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_exit_2_with_the_line_soon_and_in_little_memory(name: str, tmp_path: Path):
    text, said = HOSTILE[name]
    path = tmp_path / "file.yaml"
    path.write_text(text)
    arguments = [str(EXECUTABLE), "experiment", "validate", "file.yaml"]
    started = time.monotonic()
    with (tmp_path / "err").open("wb") as errors:
        process = subprocess.Popen(
            arguments, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL
        )
        assert process.stdout is not None
        shown = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    lines = (tmp_path / "err").read_text().splitlines()
    assert (process.returncode, shown) == (2, b"")
    assert lines[0].startswith("file.yaml")
    assert said in lines[0]
    assert lines[-2 if lines[-1].startswith("hint: ") else -1].startswith("error: file.yaml has ")
    assert len(lines) < 110
    assert max(map(len, lines)) < 1200
    assert time.monotonic() - started < SOON_S
    # Linux counts the memory of the process that forked towards the child's peak.
    assert usage.ru_maxrss < max(200 * 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + 1)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["err", "file.yaml"]


def test_what_yaml_1_1_reads_otherwise(tmp_path: Path):
    text = (
        'training:\n  learning_rate: 1e-3\n  batch_size: 012\nexperiment:\n  name: no\n  stage: 12:30\n  type: "true"\n'
    )
    (tmp_path / "file.yaml").write_text(text)
    ran = agentnn("experiment", "validate", "file.yaml", "-o", "tsv", cwd=tmp_path)
    assert ran.returncode == 0
    found = dict(line.split("\t") for line in ran.stdout.splitlines())
    assert (found["training.learning_rate"], found["training.batch_size"]) == ("0.001", "12")
    assert (found["experiment.name"], found["experiment.stage"], found["experiment.type"]) == ("no", "12:30", "true")


def test_aliases_within_bounds_are_allowed(tmp_path: Path):
    (tmp_path / "file.yaml").write_text("model: {params: {a: &a [1, 2], b: *a}}\nexperiment: {name: &n x, stage: *n}\n")
    ran = agentnn("experiment", "validate", "file.yaml", "-o", "tsv", cwd=tmp_path)
    assert "model.params.b\t[1, 2]" in ran.stdout.splitlines()
    assert "experiment.stage\tx" in ran.stdout.splitlines()
