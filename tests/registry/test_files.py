"""Files of models from elsewhere: a hostile server names them, and chooses neither the place nor the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from faults.hostile_server import LOCATION, RUN_ID, HostileServer

from agentnn.errors import AgentNNError, CorruptDataError, NotFoundError, UnsafeError
from agentnn.registry.files import download, fetched
from agentnn.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = f"{LOCATION}/{RUN_ID}/artifacts/model"
TOKEN = "t0ken"


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        server.listings = {"model": [entry("MLmodel", 5), {"path": "data", "is_dir": True}], "model/data": []}
        server.files = {"model/MLmodel": b"model"}
        yield server


def entry(path: str, size: int | None = None) -> dict[str, Any]:
    return {"path": path, "is_dir": False, **({} if size is None else {"file_size": size})}


def settings_of(server: HostileServer) -> Settings:
    return Settings.load(server.url, environ={"MLFLOW_TRACKING_TOKEN": TOKEN})


def test_what_a_server_lists_is_fetched(server: HostileServer, tmp_path: Path):
    server.listings["model/data"] = [entry("weights", 3)]
    server.files["model/data/weights"] = b"abc"
    done = download("models:/m/1", SOURCE, settings_of(server), tmp_path / "got")
    assert (done.files, done.size) == (2, 8)
    assert (tmp_path / "got" / "data" / "weights").read_bytes() == b"abc"


@pytest.mark.parametrize(
    "name", ["../evil", "/tmp/evil", "a/../../evil", "..", "C:\\evil", "a\\..\\evil", "evil\0", "data/evil", ""]
)
def test_a_name_that_leaves_the_folder_is_7_and_nothing_is_written(name: str, server: HostileServer, tmp_path: Path):
    server.listings["model/data"] = [entry(name, 1)]
    with pytest.raises(UnsafeError):
        download("models:/m/1", SOURCE, settings_of(server), tmp_path / "inside" / "got")
    with pytest.raises(UnsafeError), fetched(SOURCE, settings_of(server)):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["inside"]
    assert not any("evil" in path or path.endswith("MLmodel") for path in server.artifact_requests)


def test_folders_without_an_end_end(server: HostileServer, tmp_path: Path):
    for depth in range(70):
        server.listings["model" + "/d" * depth] = [{"path": "d", "is_dir": True}]
    with pytest.raises(UnsafeError, match="64 deep"):
        download("models:/m/1", SOURCE, settings_of(server), tmp_path / "got")


def test_a_file_that_is_not_as_long_as_was_listed_is_5_and_nothing_is_there(server: HostileServer, tmp_path: Path):
    server.files["model/MLmodel"] = b"mod"
    with pytest.raises(CorruptDataError):
        download("models:/m/1", SOURCE, settings_of(server), tmp_path / "got")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_model_is_3_and_nothing_is_there(server: HostileServer, tmp_path: Path):
    server.listings["model"] = [entry("other", 5)]
    server.files["model/other"] = b"other"
    with pytest.raises(NotFoundError):
        download("models:/m/1", SOURCE, settings_of(server), tmp_path / "got")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "source",
    [
        "http://127.0.0.1:1/api/2.0/mlflow-artifacts/artifacts/0/x",
        f"mlflow-artifacts://other:5000/0/{RUN_ID}/artifacts/model",
        "sftp://other/model",
        "/etc",
        "file:///etc",
        "mlflow-artifacts:/0/../../etc",
    ],
)
def test_a_source_with_another_host_or_in_the_system_is_7_without_a_request(
    source: str, server: HostileServer, tmp_path: Path
):
    with pytest.raises(UnsafeError):
        download("models:/m/1", source, settings_of(server), tmp_path / "got")
    assert (server.requests, list(tmp_path.iterdir())) == ([], [])


def test_a_server_that_sends_us_on_gets_no_token_there(server: HostileServer, tmp_path: Path):
    with HostileServer() as other:
        server.redirect = other.url
        with pytest.raises(AgentNNError):
            download("models:/m/1", SOURCE, settings_of(server), tmp_path / "got")
        assert other.requests == []
