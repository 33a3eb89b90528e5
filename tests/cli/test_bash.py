"""Completion in a real bash, which cuts the line to pieces before it asks."""

from __future__ import annotations

import os
import pty
import select
import shutil
import sys
import time
from pathlib import Path

import pytest
from cli.support import environment, fill

from agentnn.cli.bash_words import mended


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, template_database: Path) -> Path:
    path = tmp_path_factory.mktemp("bash") / "mlflow.db"
    shutil.copyfile(template_database, path)
    fill(path)
    return path.parent


def line_after_tab(folder: Path, typed: str, expected: str) -> str:
    """What stands on the line of a bash after a press of Tab."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        os.execvpe("bash", ["bash", "--norc", "-i"], {**environment(), "PATH": programs, "PS1": "$ "})
    try:
        _read(terminal, "$ ", 60)
        os.write(terminal, b'eval "$(agentnn --show-completion bash)"; echo re""ady\n')
        _read(terminal, "ready", 60)
        os.write(terminal, f"{typed}\t".encode())
        return _read(terminal, expected, 60)
    finally:
        os.write(terminal, b"\x03exit\n")
        os.close(terminal)
        os.waitpid(process, 0)


def _read(terminal: int, until: str, seconds: float) -> str:
    """Everything on the terminal until a text appears; erased characters are taken away as the terminal does."""
    seen, end = "", time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            for char in os.read(terminal, 4096).decode(errors="replace"):
                seen = seen[:-1] if char == "\b" else seen + char.replace("\x07", "")
        if until in seen:
            break
    return seen


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("agentnn run show @la", "agentnn run show @last "),
        ("agentnn run show @best:shar", "agentnn run show @best:sharpe "),
        ("agentnn run show models:/ne", "agentnn run show models:/net@"),
        ("agentnn model show net@ch", "agentnn model show net@champion "),
        ("agentnn run best --metric=shar", "agentnn run best --metric=sharpe "),
        ("agentnn run compare ada bo", "agentnn run compare ada bob "),
    ],
)
def test_a_selector_is_completed_in_place(folder: Path, typed: str, completed: str) -> None:
    assert completed in line_after_tab(folder, typed, completed)


@pytest.mark.parametrize(
    ("pieces", "current", "words", "where", "kept"),
    [
        ("agentnn run show @ la", 4, "agentnn run show @la", 3, ""),
        ("agentnn run show @", 3, "agentnn run show @", 3, ""),
        ("agentnn run show @ best : m", 6, "agentnn run show @best:m", 3, "@best:"),
        ("agentnn run show models : /n @ c", 7, "agentnn run show models:/n@c", 3, "models:/n"),
        ("agentnn model show n @ c", 5, "agentnn model show n@c", 3, "n"),
        ("agentnn run compare a @ la", 5, "agentnn run compare a @la", 4, ""),
        ("agentnn run best --metric = s", 5, "agentnn run best --metric=s", 3, "--metric="),
        ("agentnn run show ada", 3, "agentnn run show ada", 3, ""),
        ("agentnn run show @ last", 5, "agentnn run show @last", 4, ""),
    ],
)
def test_pieces_become_words_again(pieces: str, current: int, words: str, where: int, kept: str) -> None:
    assert mended(pieces.split(), current) == (words.split(), where, kept)
