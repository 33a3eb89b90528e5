"""What makes the environments: uv is told what pip is told, and where it can't be, pip does it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "install.py"


@pytest.fixture(scope="module")
def install() -> Any:
    found = importlib.util.spec_from_file_location("install", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_pips_settings_are_read_with_the_environment_over_the_files(
    install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\ntimeout = 5\nextra-index-url =\n    https://a/simple\n    https://b/simple\n")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    found = install.pip_settings(Path(sys.executable))
    assert found["extra-index-url"].split() == ["https://a/simple", "https://b/simple"]
    assert (found["timeout"], found["find-links"]) == ("5", "/wheels")


def test_uv_is_told_them_in_its_own_words(install: Any) -> None:
    told = {"extra-index-url": "\nhttps://a\nhttps://b", "find-links": "/x /y", "cert": "/ca.pem", "no-input": "1"}
    uv = install.as_uv(Path("uv"), {**told, "no-index": "true", "disable-pip-version-check": "1"})
    assert uv.options[2:] == ("--find-links", "/x", "--find-links", "/y", "--no-index")
    assert (uv.environ["UV_INDEX"], uv.environ["SSL_CERT_FILE"]) == ("https://a https://b", "/ca.pem")
    assert "--no-index" not in install.as_uv(Path("uv"), {"no-index": "false"}).options


def test_a_setting_that_it_has_no_word_for_is_not_left_out(install: Any) -> None:
    with pytest.raises(install.CannotSay, match="no-binary"):
        install.as_uv(Path("uv"), {"no-binary": "numpy"})


def test_what_can_t_be_installed_is_said_and_is_no_success(tmp_path: Path) -> None:
    argv = [sys.executable, str(SCRIPT), str(tmp_path / "made"), "no-such-package-of-ours==1"]
    environ = {**os.environ, "PIP_NO_INDEX": "1"}
    said = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ, timeout=300)
    assert said.returncode == 1
    assert "so by pip" in said.stderr
    assert "made could not be made" in said.stderr
