"""F30: a large file whose way into the store is cut off is never listed in part, and arrives whole in the end."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults.trainers import DEADLINE_S, kept_run, sender_pid, synced, wait_until
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient

from agentnn import start_run
from agentnn.tracking.sending.sender_control import is_sender_running, wake_sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from real_stores import MlflowServer

pytestmark = pytest.mark.slow

MEBIBYTES = 100


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 100 MiB, no two parts of it alike."""
    path = tmp_path_factory.mktemp("large") / "weights.bin"
    with path.open("wb") as file:
        for number in range(MEBIBYTES):
            file.write(hashlib.shake_256(bytes([number])).digest(1 << 20))
    return path


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_called(name: str, root: Path) -> list[Path]:
    return [Path(folder, name) for folder, _, files in os.walk(root) if name in files]


def test_a_server_that_dies_during_the_upload_lists_no_part_and_has_it_all_later(
    large: Path, start_server: Callable[..., MlflowServer]
):
    server = start_server()
    with FaultyProxy(server.url) as proxy:
        run = start_run("uploading", tracking_uri=proxy.url)
        run.log_artifact(large, "model")
        wait_until(lambda: any(one.method == "PUT" for one in proxy.requests), "the upload")
        server.kill()
        assert files_called(large.name, server.artifacts) == []
        server.restart()
        client = MlflowClient(server.url)
        run.end()
        synced(proxy.url)

    stored = kept_run(server.url, run.uuid)
    assert stored.info.status == "FINISHED"
    [listed] = client.list_artifacts(stored.info.run_id, "model")
    assert (listed.path, listed.file_size) == (f"model/{large.name}", MEBIBYTES << 20)
    assert digest(Path(client.download_artifacts(stored.info.run_id, listed.path))) == digest(large)


def test_a_sender_that_dies_during_the_copy_leaves_no_part_and_the_next_one_has_it_all(
    large: Path, uri: str, tmp_path: Path
):
    run = start_run("copying", tracking_uri=uri)
    root = Path(MlflowClient(uri).get_run(run.run_id).info.artifact_uri)
    run.log_artifact(large, "model")
    wake_sender(run.folder.store)
    deadline = time.monotonic() + DEADLINE_S
    while not list(root.parent.glob(".agentnn.*")):  # it takes some 50 ms
        assert time.monotonic() < deadline
    os.kill(sender_pid(uri), signal.SIGKILL)
    wait_until(lambda: not is_sender_running(run.folder.store), "the end of the sender")
    assert files_called(large.name, root) == []
    run.end()
    synced(uri)

    assert kept_run(uri, run.uuid).info.status == "FINISHED"
    assert digest(root / "model" / large.name) == digest(large)
    assert list(root.parent.glob(".agentnn.*")) == []
    assert not run.folder.files.exists() or list(run.folder.files.iterdir()) == []
