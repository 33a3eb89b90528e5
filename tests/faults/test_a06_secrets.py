"""A06: a password in a URI, a token in the environment. Neither is ever printed."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from cli.support import agentnn, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "s3cr3t-Swordfish"
TOKEN = "tok-0123456789abcdef"
BY_OPTION_AND_BY_VARIABLE = """
import sys
from agentnn.cli.app import run_command

print(run_command(["--tracking-uri", sys.argv[1], "--debug", "run", "list"]), run_command(["model", "list"]))
"""
ENVIRONMENT = {
    "MLFLOW_TRACKING_TOKEN": TOKEN,
    "MLFLOW_TRACKING_USERNAME": "ada",
    "MLFLOW_TRACKING_PASSWORD": f"{SECRET}-2",
}


def silent(*outputs: str) -> None:
    for text in outputs:
        assert SECRET not in text
        assert "Swordfish" not in text
        assert TOKEN not in text


@pytest.mark.parametrize(
    "uri",
    [
        f"postgresql://user:{SECRET}@127.0.0.1:1/db",
        f"http://user:{SECRET}@127.0.0.1:9/",
        f"postgresql+nosuchdriver://user:{SECRET}@127.0.0.1:1/db",
        f"mysql://user:{SECRET}@127.0.0.1:1/db",
        f"nosuchscheme://user:{SECRET}@127.0.0.1/db",
        f"postgre://user:{SECRET}@127.0.0.1/db",
        f"sqlite://user:{SECRET}@host/mlflow.db",
        f"postgresql://127.0.0.1:1/db?user=ada&password={SECRET}",
        f"postgresql://user:{SECRET}/@127.0.0.1:1/db",
        f"file://user:{SECRET}@host/mlruns",
    ],
)
@pytest.mark.slow
def test_a_password_in_the_uri_is_in_no_output(uri: str, tmp_path: Path):
    ran = subprocess.run(
        [sys.executable, "-c", BY_OPTION_AND_BY_VARIABLE, uri],
        cwd=tmp_path,
        env=environment({**ENVIRONMENT, "MLFLOW_TRACKING_URI": uri}),
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=120,
    )
    codes = ran.stdout.split()
    assert (len(codes), {*codes} <= {"2", "4", "9"}) == (2, True), ran.stderr
    assert ran.stderr.count("error: ") >= 2
    silent(ran.stdout, ran.stderr)
    assert list(tmp_path.iterdir()) == []


def test_debug_names_the_store_without_its_password(tmp_path: Path):
    ran = agentnn("--debug", "--tracking-uri", f"nosuch://user:{SECRET}@host/db", "run", "list", cwd=tmp_path)
    assert ran.stderr.splitlines()[0] == "debug: store nosuch://***@host/db (from option)"
    silent(ran.stderr)


def test_a_password_in_an_env_file_is_in_no_output(tmp_path: Path):
    (tmp_path / ".env").write_text(
        f"MLFLOW_TRACKING_URI=nosuch://user:{SECRET}@host/db\nMLFLOW_TRACKING_TOKEN={TOKEN}\n"
    )
    for arguments in (["run", "list"], ["--debug", "run", "list"]):
        ran = agentnn(*arguments, cwd=tmp_path)
        assert ran.returncode == 2
        silent(ran.stdout, ran.stderr)


def test_a_token_that_an_error_would_repeat_is_struck_out(tmp_path: Path, filled: Path):
    for variable in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD"):
        for debug in ([], ["--debug"]):
            ran = agentnn(*debug, "run", "show", f"run-{TOKEN}", cwd=filled.parent, env={variable: TOKEN})
            assert ran.returncode == 3
            silent(ran.stdout, ran.stderr)


def test_a_token_from_an_env_file_that_an_error_would_repeat_is_struck_out(filled: Path):
    (filled.parent / ".env").write_text(f"MLFLOW_TRACKING_TOKEN={TOKEN}\n")
    for debug in ([], ["--debug"]):
        ran = agentnn(*debug, "run", "show", f"run-{TOKEN}", cwd=filled.parent)
        assert ran.returncode == 3
        silent(ran.stdout, ran.stderr)


@pytest.fixture
def hostile_server() -> Iterator[int]:
    """A server that sends back whatever it was sent, credentials included, as an error."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    request = connection.recv(65536).decode("latin-1")
                    said = json.dumps(
                        {"error_code": "INVALID_PARAMETER_VALUE", "message": f"you sent {request.split()}"}
                    )
                    connection.sendall(
                        b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
                        + f"Content-Length: {len(said)}\r\nConnection: close\r\n\r\n{said}".encode("latin-1")
                    )

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["", "debug"])
def test_a_server_that_sends_the_credentials_back_does_not_get_them_printed(
    debug: list[str], hostile_server: int, tmp_path: Path
):
    uri = f"http://127.0.0.1:{hostile_server}"
    ran = agentnn("--tracking-uri", uri, *debug, "run", "list", cwd=tmp_path, env={"MLFLOW_TRACKING_TOKEN": TOKEN})
    assert ran.returncode in (2, 4), ran.stderr
    assert "you sent" in ran.stderr
    silent(ran.stdout, ran.stderr)


@pytest.mark.slow
def test_credentials_do_not_stay_in_the_environment_after_a_call(tmp_path: Path):
    code = (
        "import os\n"
        "from agentnn import AgentNNError, ModelManager\n"
        "try:\n"
        "    ModelManager('http://127.0.0.1:9').list_runs()\n"
        "except AgentNNError as error:\n"
        "    print(error.exit_code, [key for key in os.environ if key.startswith('MLFLOW_')])\n"
    )
    (tmp_path / ".env").write_text(f"MLFLOW_TRACKING_TOKEN={TOKEN}\n")
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert ran.stdout == "4 []\n", ran.stderr
    silent(ran.stderr)
