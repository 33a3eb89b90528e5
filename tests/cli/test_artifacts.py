"""``agentnn run artifacts``: files are listed, printed and downloaded as they are, here and on a server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from cli.support import EXECUTABLE, environment, error_and_hint, fingerprint, in_process, on_terminal
from mlflow import MlflowClient
from real_stores import copy_sqlite_store

from agentnn import ModelManager
from agentnn.errors import ConflictError, CorruptDataError, NotFoundError, UsageError
from agentnn.records import Artifact
from agentnn.settings import Settings
from agentnn.stores.mlflow.artifacts import CloudFolder

if TYPE_CHECKING:
    from real_stores import MlflowServer

BINARY = bytes(range(256)) * 5000
FILES = {
    "a.csv": b"x,y\n1,2\n",
    "b.json": b"{}\n",
    "empty": b"",
    "plots/loss.png": BINARY,
    "plots/deep/curve.png": b"png",
    "plots/deep/data.csv": b"1\n",
    "[odd] *.csv": b"odd",
    "net/MLmodel": b"flavors: {}\n",
    "net/data/weights.bin": b"\x00\x01",
}


def fill(uri: str, folder: Path) -> None:
    """A run called ``run`` with these files, of which ``net`` is a model that MLflow 3 keeps elsewhere."""
    client = MlflowClient(uri)
    run_id = client.create_run("0", run_name="run").info.run_id
    client.create_run("0", run_name="bare")
    for path, data in FILES.items():
        file = folder / "files" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    (folder / "files" / "net").rename(folder / "net")
    client.log_artifacts(run_id, str(folder / "files"))
    model = client.create_logged_model("0", "net", source_run_id=run_id)
    client.log_model_artifacts(model.model_id, str(folder / "net"))
    client.finalize_logged_model(model.model_id, "READY")


@pytest.fixture(scope="module")
def sqlite_store(tmp_path_factory: pytest.TempPathFactory, template_database: Path) -> str:
    folder = tmp_path_factory.mktemp("artifacts")
    uri = copy_sqlite_store(template_database, folder / "mlflow.db", str(folder / "mlruns" / "0"))
    fill(uri, folder)
    return uri


@pytest.fixture(scope="module")
def server_store(tmp_path_factory: pytest.TempPathFactory, mlflow_server: MlflowServer) -> str:
    client = MlflowClient(mlflow_server.url)
    for run in client.search_runs(["0"]):
        client.delete_run(run.info.run_id)
    fill(mlflow_server.url, tmp_path_factory.mktemp("artifacts"))
    return mlflow_server.url


@pytest.fixture(params=["sqlite", "server"])
def uri(request: pytest.FixtureRequest) -> str:
    """A store with the files, on this machine and on a server."""
    return str(request.getfixturevalue(f"{request.param}_store"))


def artifacts(uri: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What ``run artifacts`` says."""
    return in_process("--tracking-uri", uri, "run", "artifacts", *arguments, cwd=cwd)


def failure(uri: str, *arguments: str, cwd: Path | None = None) -> tuple[int, str]:
    """The exit code and the error of a command that must fail and print nothing."""
    ran = artifacts(uri, *arguments, cwd=cwd)
    error, hint = error_and_hint(ran.stderr)
    assert (ran.stdout, bool(hint)) == ("", True)
    return ran.returncode, error


NAMED = [
    ("", False, ["[odd] *.csv", "a.csv", "b.json", "empty", "net", "plots"]),
    ("", True, sorted(FILES)),
    ("plots", False, ["plots/deep", "plots/loss.png"]),
    ("plots/", True, ["plots/deep/curve.png", "plots/deep/data.csv", "plots/loss.png"]),
    ("a.csv", False, ["a.csv"]),
    ("net", False, ["net/MLmodel", "net/data"]),
    ("net/data/weights.bin", False, ["net/data/weights.bin"]),
    ("*.csv", False, ["[odd] *.csv", "a.csv"]),
    ("*", False, ["[odd] *.csv", "a.csv", "b.json", "empty", "net", "plots"]),
    ("**/*.csv", False, ["[odd] *.csv", "a.csv", "plots/deep/data.csv"]),
    ("**/*.png", False, ["plots/deep/curve.png", "plots/loss.png"]),
    ("plots/*.png", False, ["plots/loss.png"]),
    ("plots/*/*", False, ["plots/deep/curve.png", "plots/deep/data.csv"]),
    ("p*", False, ["plots"]),
    ("p*", True, ["plots/deep/curve.png", "plots/deep/data.csv", "plots/loss.png"]),
    ("**/data", True, ["net/data/weights.bin"]),
    ("[ab].*", False, ["a.csv", "b.json"]),
    ("[odd] *.csv", False, ["[odd] *.csv"]),
]


@pytest.mark.parametrize(("pattern", "recursive", "found"), NAMED)
def test_a_path_or_a_pattern_names_these(pattern: str, recursive: bool, found: list[str], uri: str):
    named = ModelManager(uri).find_artifacts("run", [pattern], recursive=recursive)
    assert sorted(one.path for one in named) == sorted(found)
    assert {one.path: one.size or 0 for one in named if not one.is_dir} == {
        path: len(FILES[path]) for path in found if path in FILES
    }


def test_the_command_lists_what_is_found(uri: str):
    listed = json.loads(artifacts(uri, "ls", "run", "**/*.csv", "-o", "json").stdout)
    assert [one["path"] for one in listed] == ["[odd] *.csv", "a.csv", "plots/deep/data.csv"]
    assert artifacts(uri, "ls", "bare").stdout.splitlines() == ["path\tsize\tis_dir"]
    assert failure(uri, "ls", "run", "*.exe") == (3, "there is no artifact '*.exe'")
    assert failure(uri, "ls", "run", "no/such") == (3, "there is no artifact 'no/such'")
    assert failure(uri, "ls", "run", "../*")[0] == 7


@pytest.mark.parametrize("path", [path for path in FILES if path != "empty"])
def test_a_file_is_read_byte_by_byte(path: str, uri: str):
    assert b"".join(ModelManager(uri).read_artifact("run", path)) == FILES[path]


def test_cat_writes_bytes_into_a_pipe_and_stops_when_nobody_reads(uri: str):
    command = [str(EXECUTABLE), "--tracking-uri", uri, "run", "artifacts", "cat", "run", "plots/loss.png"]
    ran = subprocess.run(command, capture_output=True, env=environment(), check=True)
    assert (ran.stdout, ran.stderr) == (BINARY, b"")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(1)
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


def test_cat_refuses_a_folder_and_what_is_not_there(uri: str):
    assert failure(uri, "cat", "run", "plots") == (2, "'plots' is a folder")
    assert failure(uri, "cat", "run", "none") == (3, "there is no artifact 'none'")
    assert failure(uri, "cat", "run", "../../mlflow.db")[0] == 7
    for path in ("", ".", "net"):
        with pytest.raises(UsageError):
            ModelManager(uri).read_artifact("run", path)


def test_a_terminal_gets_text_in_which_nothing_is_acted_on(sqlite_store: str):
    uri, client = sqlite_store, MlflowClient(sqlite_store)
    (run,) = client.search_runs(["0"], "run_name = 'run'")
    client.log_text(run.info.run_id, "one\r\n\x1b[31mred\ttab\u202e\nü", "text/evil.txt")
    shown = on_terminal("--tracking-uri", uri, "run", "artifacts", "cat", "run", "text/evil.txt")
    assert (shown.text, shown.code) == ("one\n\\x1b[31mred\ttab\\u202e\nü", 0)
    shown = on_terminal("--tracking-uri", uri, "run", "artifacts", "cat", "run", "plots/loss.png")
    assert shown.code == 2
    assert shown.text.startswith("error: 'plots/loss.png' is not text, and this is a terminal")


def test_get_writes_files_under_their_paths_and_says_where(uri: str, tmp_path: Path):
    ran = artifacts(uri, "get", "run", "plots", "*.json", "**/*.png", "--to", "here", "-o", "json", cwd=tmp_path)
    written = json.loads(ran.stdout)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [one["path"] for one in written] == [
        "plots/deep/curve.png", "plots/deep/data.csv", "plots/loss.png", "b.json",
    ]  # fmt: skip
    for one in written:
        assert (tmp_path / one["file"]).read_bytes() == FILES[one["path"]]
        assert one["size"] == len(FILES[one["path"]])
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {Path(one["path"]).name for one in written}


def test_what_is_there_is_not_replaced_unless_forced(uri: str, tmp_path: Path):
    (tmp_path / "b.json").write_text("mine")
    before = fingerprint(tmp_path)
    code, error = failure(uri, "get", "run", "*.json", "a.csv", cwd=tmp_path)
    assert (code, error) == (6, "already there: b.json; nothing was written")
    assert fingerprint(tmp_path) == before
    ran = artifacts(uri, "get", "run", "*.json", "a.csv", "--force", "-o", "id", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "b.json\na.csv\n")
    assert (tmp_path / "b.json").read_bytes() == FILES["b.json"]


def test_a_folder_or_a_file_in_the_way_is_a_conflict_even_when_forced(sqlite_store: str, tmp_path: Path):
    (tmp_path / "a.csv").mkdir()
    (tmp_path / "plots").write_text("mine")
    before = fingerprint(tmp_path)
    for pattern in ("a.csv", "plots"):
        with pytest.raises(ConflictError):
            ModelManager(sqlite_store).download_artifacts("run", pattern, tmp_path, force=True)
    assert fingerprint(tmp_path) == before


def test_get_says_what_it_does_not_find(sqlite_store: str, tmp_path: Path):
    assert failure(sqlite_store, "get", "run", "a.csv", "*.exe", cwd=tmp_path)[0] == 3
    with pytest.raises(NotFoundError):
        ModelManager(sqlite_store).download_artifacts("run", ["a.csv", "none"], tmp_path)
    assert list(tmp_path.iterdir()) == []
    ran = artifacts(sqlite_store, "get", "bare", cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "the run has no files\n")


def test_a_folder_that_can_not_be_written_is_4_and_leaves_nothing(sqlite_store: str, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    ran = artifacts(sqlite_store, "get", "run", "a.csv", "--to", "/proc/here", cwd=tmp_path)
    assert ran.returncode == 4
    assert "can't be written" in ran.stderr


def test_a_cloud_store_is_read_by_mlflows_own_client(tmp_path: Path):
    """A folder of this machine stands in for the cloud: MLflow reaches all of them in the same way."""
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "loss.png").write_bytes(BINARY)
    folder = CloudFolder(tmp_path.as_uri(), Settings("sqlite:///mlflow.db"))
    assert folder.entries(PurePosixPath()) == [Artifact("plots", is_dir=True)]
    assert folder.entries(PurePosixPath("plots")) == [Artifact("plots/loss.png", is_dir=False, size=len(BINARY))]
    assert b"".join(folder.read(PurePosixPath("plots/loss.png"), len(BINARY))) == BINARY
    with pytest.raises(CorruptDataError):
        b"".join(folder.read(PurePosixPath("plots/loss.png"), 1))


def test_memory_does_not_grow_with_a_file(uri: str, tmp_path: Path):
    """A file of 96 MB is read and downloaded by a process that may have 48 MB more than it needs for a small one."""
    client = MlflowClient(uri)
    (run,) = client.search_runs(["0"], "run_name = 'bare'")
    big = tmp_path / "big.bin"
    with big.open("wb") as file:
        file.truncate(96 << 20)
    client.log_artifact(run.info.run_id, str(big), "big")
    code = (
        "import resource, sys\n"
        "from agentnn import ModelManager\n"
        "manager = ModelManager(sys.argv[1])\n"
        "b''.join(manager.read_artifact('run', 'a.csv'))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "size = sum(len(chunk) for chunk in manager.read_artifact('bare', 'big/big.bin'))\n"
        "manager.download_artifacts('bare', 'big', sys.argv[2])\n"
        "print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 48 << 10)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, uri, str(tmp_path / "to")], capture_output=True, text=True, env=environment()
    )
    assert ran.stdout == f"{96 << 20} True\n", ran.stderr
    assert (tmp_path / "to" / "big" / "big.bin").stat().st_size == 96 << 20
