"""A07, A08, A09: no path out of a store or an archive leads outside, and only a store's own addresses are followed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import error_and_hint, execute, fingerprint, in_process
from faults.hostile_server import RUN_ID, HostileServer
from mlflow import MlflowClient

from agentnn import ModelManager
from agentnn.errors import CorruptDataError, NotFoundError, StoreUnavailable, UnsafeError
from agentnn.settings import Settings
from agentnn.stores.artifacts.places import check_model_place, check_place
from agentnn.transfer import archives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "t0ken-of-this-test"  # noqa: S105
OWNER = "0123456789abcdef" * 2


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as running:
        yield running


@pytest.fixture
def manager(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> ModelManager:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    return ModelManager(server.url)


# -- A07: what a server answers -----------------------------------------------------------------------------

NAMES = ["../up", "..", "/etc/passwd", "a/../../up", "a\\..\\up", "C:\\up", "C:up", "nul\0x", "", ".", "a/b", "\ud800"]


def test_the_server_of_these_tests_is_believed_when_it_is_honest(
    server: HostileServer, manager: ModelManager, tmp_path: Path
):
    server.listings = {
        "": [{"path": "a.txt", "is_dir": False, "file_size": 5}, {"path": "plots", "is_dir": True}],
        "plots": [{"path": "b%41#.png", "is_dir": False, "file_size": "3"}],
    }
    server.files = {"a.txt": b"hello", "plots/b%2541%23.png": b"png"}
    assert [one.path for one in manager.find_artifacts(RUN_ID)] == ["a.txt", "plots/b%41#.png"]
    manager.download_artifacts(RUN_ID, to=tmp_path / "to")
    assert (tmp_path / "to" / "a.txt").read_bytes() == b"hello"
    assert (tmp_path / "to" / "plots" / "b%41#.png").read_bytes() == b"png"
    assert {token for _, token in server.requests} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("is_dir", [False, True], ids=["file", "folder"])
def test_a_name_that_is_no_name_is_7_and_nothing_is_written(
    name: str, is_dir: bool, server: HostileServer, manager: ModelManager, tmp_path: Path
):
    server.listings = {"": [{"path": "good", "is_dir": False, "file_size": 1}, {"path": name, "is_dir": is_dir}]}
    server.files = {"good": b"x"}
    before = fingerprint(tmp_path)
    for ask in (
        lambda: manager.list_artifacts(RUN_ID),
        lambda: manager.download_artifacts(RUN_ID, to=tmp_path / "to"),
        lambda: manager.export_runs(tmp_path / "out", RUN_ID, children=False),
    ):
        with pytest.raises(UnsafeError):
            ask()
    assert fingerprint(tmp_path) == before


def test_the_command_says_so_with_7(server: HostileServer, tmp_path: Path):
    server.listings = {"": [{"path": "../\x1b[2Jup", "is_dir": False, "file_size": 1}]}
    for command in (["ls", RUN_ID], ["get", RUN_ID, "--to", "to"], ["cat", RUN_ID, "up"]):
        ran = in_process("--tracking-uri", server.url, "run", "artifacts", *command, cwd=tmp_path)
        error, hint = error_and_hint(ran.stderr)
        assert (ran.returncode, ran.stdout, bool(hint)) == (7, "", True)
        assert "\\x1b[2Jup" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("listed", "sent"), [(3, b"abcdef"), (9, b"abc"), (0, b"x")], ids=["more", "fewer", "not empty"]
)
def test_a_file_that_is_not_what_was_listed_is_5_and_not_left_behind(
    listed: int, sent: bytes, server: HostileServer, manager: ModelManager, tmp_path: Path
):
    server.listings = {"": [{"path": "f", "is_dir": False, "file_size": listed}]}
    server.files = {"f": sent}
    with pytest.raises(CorruptDataError, match="bytes than"):
        manager.download_artifacts(RUN_ID, to=tmp_path / "to")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_folders_without_end_are_an_end(server: HostileServer, manager: ModelManager):
    inner = [{"path": "a", "is_dir": True}]
    server.listings = {"/".join(["a"] * depth): inner for depth in range(200)}
    with pytest.raises(UnsafeError, match="nested more than"):
        manager.find_artifacts(RUN_ID)
    with pytest.raises(UnsafeError, match="nested more than"):
        manager.find_artifacts(RUN_ID, "**/*.csv")


def test_who_is_sent_elsewhere_does_not_go(server: HostileServer, manager: ModelManager):
    with HostileServer() as other:
        server.redirect = f"{other.url}/api/2.0/mlflow-artifacts/artifacts"
        with pytest.raises(UnsafeError, match="another address"):
            manager.list_artifacts(RUN_ID)
        assert other.requests == []


@pytest.mark.parametrize("answer", [{"files": 3}, {"files": [3]}, {"files": [{}]}, [], b"<html>", b"[" * 100_000])
def test_an_answer_that_is_no_listing_is_4(answer: Any, server: HostileServer, manager: ModelManager):
    honest = server.answer
    server.answer = lambda path, query: (  # type: ignore[method-assign]
        (200, answer) if "mlflow-artifacts" in path else honest(path, query)
    )
    with pytest.raises(StoreUnavailable, match="as MLflow writes it"):
        manager.list_artifacts(RUN_ID)


# -- A07: links, and names in the destination ------------------------------------------------------------------


@pytest.fixture
def local(uri: str, tmp_path: Path) -> tuple[ModelManager, Path]:
    """A manager, and the folder of the artifacts of its one run, ``run``."""
    client = MlflowClient(uri)
    experiment = client.create_experiment("files", artifact_location=str(tmp_path / "mlruns" / "1"))
    run_id = client.create_run(experiment, run_name="run").info.run_id
    folder = Path(client.get_run(run_id).info.artifact_uri)
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("hello")
    return ModelManager(uri), folder


def test_a_link_that_leaves_the_run_is_not_followed(local: tuple[ModelManager, Path], tmp_path: Path):
    manager, folder = local
    (tmp_path / "secret").write_text("private")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "up").symlink_to(tmp_path)
    for path in ("link", "loop", "up", "up/secret"):
        with pytest.raises((UnsafeError, NotFoundError)):
            b"".join(manager.read_artifact("run", path))
    with pytest.raises(UnsafeError):
        manager.download_artifacts("run", to=tmp_path / "to")
    with pytest.raises(UnsafeError):
        manager.export_runs(tmp_path / "out.zip", "run")
    assert "private" not in "".join(path.read_text() for path in tmp_path.rglob("to/*"))
    assert not (tmp_path / "out.zip").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_pipe_is_refused_and_not_waited_for(local: tuple[ModelManager, Path]):
    manager, folder = local
    os.mkfifo(folder / "pipe")
    with pytest.raises(UnsafeError, match="no ordinary file"):
        manager.read_artifact("run", "pipe")


def test_a_link_in_the_destination_is_not_written_through(local: tuple[ModelManager, Path], tmp_path: Path):
    manager, folder = local
    (folder / "sub").mkdir()
    (folder / "sub" / "b.txt").write_text("b")
    elsewhere, to = tmp_path / "elsewhere", tmp_path / "to"
    elsewhere.mkdir()
    to.mkdir()
    (to / "sub").symlink_to(elsewhere)
    with pytest.raises(UnsafeError, match="is a link that leaves"):
        manager.download_artifacts("run", to=to, force=True)
    (to / "sub").unlink()
    (elsewhere / "target").write_text("mine")
    (to / "a.txt").symlink_to(elsewhere / "target")
    manager.download_artifacts("run", to=to, force=True)
    assert (elsewhere / "target").read_text() == "mine"
    assert (to / "a.txt").read_text() == "hello"
    assert not (to / "a.txt").is_symlink()


# -- A09: where a store says that files are ----------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "/etc",
        "file:///etc",
        "file://localhost/etc",
        f"/etc/{RUN_ID}/artifacts",
        "mlflow-artifacts://other.example/0/{run}/artifacts",
        "mlflow-artifacts:/0/../1/{run}/artifacts",
        "mlflow-artifacts:/0/%2e%2e/1/{run}/artifacts",
        "mlflow-artifacts:/1/{run}/artifacts",
        "mlflow-artifacts:/0/another/artifacts",
        "{other}/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts",
        "https://127.0.0.1:{port}/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts",
        "sftp://ada@other.example/0/{run}/artifacts",
        "ftp://other.example/0/{run}/artifacts",
        "s3://bucket/0/{run}/artifacts",
        "runs:/{run}/artifacts",
        "models:/m-{run}/artifacts",
        "dbfs:/0/{run}/artifacts",
        "http://[bad/0/{run}/artifacts",
    ],
)
def test_an_address_that_is_not_the_runs_is_7_without_a_request(
    address: str, server: HostileServer, manager: ModelManager, tmp_path: Path
):
    with HostileServer() as other:
        port = server.url.rpartition(":")[2]
        server.artifact_uri = address.format(run=RUN_ID, other=other.url, port=port)
        for ask in (
            lambda: manager.list_artifacts(RUN_ID),
            lambda: manager.read_artifact(RUN_ID, "passwd"),
            lambda: manager.download_artifacts(RUN_ID, to=tmp_path / "to"),
            lambda: manager.export_runs(tmp_path / "out", RUN_ID, children=False),
        ):
            with pytest.raises(UnsafeError, match="is not followed"):
                ask()
        assert other.requests == []
        assert server.artifact_requests == []
        assert list(tmp_path.iterdir()) == []


def test_an_experiment_that_is_elsewhere_does_not_make_it_right(server: HostileServer, manager: ModelManager):
    with HostileServer() as other:
        for location in ("/etc", f"{other.url}/api/2.0/mlflow-artifacts/artifacts/0", "sftp://other.example/0"):
            server.location, server.artifact_uri = location, f"{location}/{RUN_ID}/artifacts"
            with pytest.raises(UnsafeError):
                manager.list_artifacts(RUN_ID)
        assert (other.requests, server.artifact_requests) == ([], [])


def test_a_model_that_is_elsewhere_is_not_followed_either(server: HostileServer, manager: ModelManager):
    info = {"model_id": "m-" + RUN_ID, "experiment_id": "0", "name": "net", "source_run_id": RUN_ID, "status": 2}
    info |= {"creation_timestamp_ms": 1, "last_updated_timestamp_ms": 1, "artifact_uri": "/etc"}
    server.models = [{"info": info, "data": {}}]
    assert [one.path for one in manager.list_artifacts(RUN_ID)] == ["net"]
    for path in ("net", "net/passwd"):
        with pytest.raises(UnsafeError):
            manager.list_artifacts(RUN_ID, path)


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/etc"])
def test_a_model_whose_name_is_no_name_is_7(name: str, server: HostileServer, manager: ModelManager, tmp_path: Path):
    info = {"model_id": "m-" + RUN_ID, "experiment_id": "0", "name": name, "source_run_id": RUN_ID, "status": 2}
    info |= {"artifact_uri": f"mlflow-artifacts:/0/models/m-{RUN_ID}/artifacts"}
    server.models = [{"info": {**info, "creation_timestamp_ms": 1, "last_updated_timestamp_ms": 1}, "data": {}}]
    for ask in (lambda: manager.find_artifacts(RUN_ID), lambda: manager.download_artifacts(RUN_ID, to=tmp_path)):
        with pytest.raises(UnsafeError):
            ask()


def test_a_forged_address_in_a_database_is_7_and_a_declared_one_is_read(
    local: tuple[ModelManager, Path], uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    database = uri.removeprefix("sqlite:///")
    private = tmp_path / "private"
    private.mkdir()
    (private / "key").write_text("private")
    execute(Path(database), f"UPDATE runs SET artifact_uri = '{private}'")
    ran = in_process("--tracking-uri", uri, "run", "artifacts", "cat", "run", "key", cwd=tmp_path)
    error, hint = error_and_hint(ran.stderr)
    assert (ran.returncode, ran.stdout) == (7, "")
    assert str(private) in error
    assert "AGENTNN_ARTIFACT_ROOTS" in hint
    monkeypatch.setenv("AGENTNN_ARTIFACT_ROOTS", f"s3://bucket/x, {private}")
    assert b"".join(ModelManager(uri).read_artifact("run", "key")) == b"private"


def test_another_host_is_asked_when_it_was_declared(server: HostileServer, monkeypatch: pytest.MonkeyPatch):
    with HostileServer() as other:
        place = other.url.removeprefix("http:")
        monkeypatch.setenv("AGENTNN_ARTIFACT_ROOTS", f"mlflow-artifacts:{place}/0")
        server.artifact_uri = f"mlflow-artifacts:{place}/0/{RUN_ID}/artifacts"
        other.listings = {"": [{"path": "there", "is_dir": False, "file_size": 1}]}
        assert [one.path for one in ModelManager(server.url).list_artifacts(RUN_ID)] == ["there"]
        assert (len(other.requests), server.artifact_requests) == (1, [])


@pytest.mark.parametrize("answer", [b"<html>not found", {"error_code": "ENDPOINT_NOT_FOUND", "message": "no"}])
def test_a_server_that_knows_no_logged_models_has_files_all_the_same(
    answer: Any, server: HostileServer, manager: ModelManager
):
    honest = server.answer
    server.answer = lambda path, query: (  # type: ignore[method-assign]
        (404, answer) if "logged-models" in path else honest(path, query)
    )
    server.listings = {"": [{"path": "there", "is_dir": False, "file_size": 1}]}
    assert [one.path for one in manager.list_artifacts(RUN_ID)] == ["there"]


def test_a_runs_folder_that_is_a_link_out_of_its_experiment_is_7(local: tuple[ModelManager, Path], tmp_path: Path):
    manager, folder = local
    shutil.rmtree(folder)
    (tmp_path / "private").mkdir()
    folder.symlink_to(tmp_path / "private")
    with pytest.raises(UnsafeError, match="is a link"):
        manager.list_artifacts("run")


GOOD = f"{OWNER}/artifacts"


@pytest.mark.parametrize(
    ("tracking", "uri", "location"),
    [
        ("sqlite:///x.db", f"/data/mlruns/1/{GOOD}", "/data/mlruns/1"),
        ("sqlite:///x.db", f"file:///data/ml%20runs/1/{GOOD}", "/data/ml runs/1"),
        ("sqlite:///x.db", f"./mlruns/0/{GOOD}", "mlruns/0"),
        ("./mlruns", f"mlruns/0/{GOOD}", None),
        ("postgresql://db/x", f"s3://bucket/1/{GOOD}", "s3://bucket/1"),
        ("http://host", f"gs://bucket/a/1/{GOOD}", "gs://bucket/a"),
        ("http://host:5000", f"mlflow-artifacts:/1/{GOOD}", "mlflow-artifacts:/1"),
        ("http://host:5000", f"mlflow-artifacts://host:5000/1/{GOOD}", "mlflow-artifacts://host:5000/1"),
        ("https://ada:pw@host/", f"https://host:443/api/2.0/mlflow-artifacts/artifacts/1/{GOOD}", None),
        ("http://localhost:5000", f"/data/1/{GOOD}", "/data/1"),
        ("databricks", f"dbfs:/databricks/mlflow-tracking/1/{GOOD}", "dbfs:/databricks/mlflow-tracking/1"),
    ],
)
def test_where_mlflow_keeps_artifacts_is_allowed(tracking: str, uri: str, location: str | None):
    check_place(uri, OWNER, location, Settings(tracking))


@pytest.mark.parametrize(
    ("tracking", "uri", "location"),
    [
        ("sqlite:///x.db", f"/data/mlruns/2/{GOOD}", "/data/mlruns/1"),
        ("sqlite:///x.db", f"/data/mlruns/10/{GOOD}", "/data/mlruns/1"),
        ("sqlite:///x.db", f"/data/mlruns/1/../../{GOOD}", "/data/mlruns/1"),
        ("sqlite:///x.db", f"/{GOOD}", "/"),
        ("sqlite:///x.db", f"/proc/{GOOD}", "/proc"),
        ("sqlite:///x.db", "/data/mlruns/1/x/artifacts", "/data/mlruns/1"),
        ("sqlite:///x.db", f"http://host/{GOOD}", None),
        ("postgresql://db/x", f"s3://other/1/{GOOD}", "s3://bucket/1"),
        ("postgresql://db/x", f"s3://bucket/1/{GOOD}", None),
        ("http://host", f"/data/1/{GOOD}", "/data/1"),
        ("http://host:5000", f"mlflow-artifacts://host:5001/1/{GOOD}", "mlflow-artifacts://host:5001/1"),
        ("https://host", f"http://host/api/2.0/mlflow-artifacts/artifacts/1/{GOOD}", None),
        ("http://localhost.evil.example", f"/data/1/{GOOD}", "/data/1"),
    ],
)
def test_everything_else_is_not(tracking: str, uri: str, location: str | None):
    with pytest.raises(UnsafeError):
        check_place(uri, OWNER, location, Settings(tracking))
    check_place(uri, OWNER, location, Settings(tracking, artifact_roots=("/x", uri.rpartition("/")[0])))


def test_the_source_of_a_model_has_to_be_among_artifacts():
    settings = Settings("http://127.0.0.1:5000")
    for good in (f"/data/1/{GOOD}/model", f"mlflow-artifacts:/1/models/m-{GOOD}", f"s3://bucket/1/{GOOD}/net"):
        check_model_place(good, settings)
    for bad in ("/etc", "/home/ada/.ssh", "http://other.example/model", "s3://bucket/net", "/data/artifacts/net"):
        with pytest.raises(UnsafeError):
            check_model_place(bad, settings)


# -- A08: archives ------------------------------------------------------------------------------------------


def zipped(target: Path, *entries: tuple[str, bytes, int]) -> Path:
    """A zip file with these names, contents and modes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return target


def tarred(target: Path, *entries: tarfile.TarInfo, data: bytes = b"") -> Path:
    """A tar file with these entries, all with the same content."""
    with tarfile.open(target, "w:gz") as archive:
        for entry in entries:
            entry.size = len(data) if entry.isreg() else 0
            archive.addfile(entry, io.BytesIO(data) if entry.isreg() else None)
    return target


def special(name: str, kind: bytes, linkname: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, linkname
    return entry


UPWARDS = ["../up", "/tmp/agentnn-up", "a/../../up", "a\\..\\up", "C:/up", "./x", "a//b"]


@pytest.fixture
def refuses(tmp_path: Path, uri: str, database: Path) -> Callable[..., None]:
    """Checks that a file is refused, and nothing written, neither in the store nor anywhere else."""

    def check(archive: Path, error: type[Exception] = UnsafeError, match: str | None = None) -> None:
        before = fingerprint(tmp_path)
        with pytest.raises(error, match=match):
            ModelManager(uri).import_runs(archive)
        assert fingerprint(tmp_path) == before
        assert not Path("/tmp/agentnn-up").exists()

    return check


@pytest.mark.parametrize("name", UPWARDS)
def test_a_name_that_leads_out_of_an_archive_is_7(name: str, tmp_path: Path, refuses: Callable[..., None]):
    refuses(zipped(tmp_path / "x.zip", ("manifest.json", b"{}", 0o644), (name, b"x", 0o644)))
    refuses(tarred(tmp_path / "x.tar.gz", tarfile.TarInfo("manifest.json"), tarfile.TarInfo(name), data=b"x"))


def test_what_is_no_file_in_an_archive_is_7(tmp_path: Path, refuses: Callable[..., None]):
    refuses(zipped(tmp_path / "x.zip", ("link", b"/etc/passwd", stat.S_IFLNK | 0o777)))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        refuses(tarred(tmp_path / "x.tar.gz", special("link", kind, "/etc/passwd")))
    refuses(tarred(tmp_path / "x.tar.gz", special("a", tarfile.SYMTYPE, "/tmp"), tarfile.TarInfo("a/agentnn-up")))


def test_a_name_that_is_twice_in_an_archive_is_7(tmp_path: Path, refuses: Callable[..., None]):
    with pytest.warns(UserWarning, match="Duplicate"):
        archive = zipped(tmp_path / "x.zip", ("a", b"1", 0o644), ("a", b"2", 0o644))
    refuses(archive)
    refuses(tarred(tmp_path / "x.tar.gz", tarfile.TarInfo("a"), tarfile.TarInfo("a")))
    refuses(tarred(tmp_path / "x.tar.gz", tarfile.TarInfo("a"), tarfile.TarInfo("a/b")))


def test_a_bomb_is_7(tmp_path: Path, refuses: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 1 << 20)
    zeros = bytes(64 << 20)
    refuses(zipped(tmp_path / "x.zip", ("bomb", zeros, 0o644)), match="far more than its size")
    refuses(tarred(tmp_path / "x.tar.gz", tarfile.TarInfo("bomb"), data=zeros), match="far more than its size")
    monkeypatch.setattr(archives, "MOST_FILES", 10)
    refuses(zipped(tmp_path / "x.zip", *((str(n), b"", 0o644) for n in range(11))), match="far more than its size")


def test_a_bomb_in_a_header_is_7_before_it_is_in_memory(tmp_path: Path, refuses: Callable[..., None]):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 4 << 30
    with gzip.open(tmp_path / "x.tar.gz", "wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(4 << 20))
    refuses(tmp_path / "x.tar.gz", match="longer than any name")


def test_an_archive_that_is_damaged_or_none_is_5(local: tuple[ModelManager, Path], tmp_path: Path, refuses: Any):
    manager, _ = local
    for name in ("x.zip", "x.tar.gz"):
        manager.export_runs(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        overwritten = whole[:100] + bytes(40) + whole[140:]
        for damaged in (whole[: len(whole) // 2], overwritten, b"", b"PK\x03\x04", b"garbage"):
            (tmp_path / name).write_bytes(damaged)
            refuses(tmp_path / name, (CorruptDataError, UnsafeError, NotFoundError))


# -- a folder that was tampered with --------------------------------------------------------------------------


@pytest.fixture
def exported(local: tuple[ModelManager, Path], tmp_path: Path) -> Path:
    manager, folder = local
    (folder / "sub").mkdir()
    (folder / "sub" / "b.txt").write_text("b")
    manager.export_runs(tmp_path / "out")
    return tmp_path / "out"


def change_manifest(exported: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write the manifest again, with other contents."""
    manifest = json.loads((exported / "manifest.json").read_text())
    change(manifest)
    (exported / "manifest.json").write_text(json.dumps(manifest))


def change_run(exported: Path, **fields: Any) -> None:
    """Write other fields into the run, with a digest that fits."""
    (path,) = exported.glob("runs/*/run.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    entry = {"path": path.relative_to(exported).as_posix(), "size": path.stat().st_size}
    entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    change_manifest(
        exported,
        lambda manifest: manifest.update(
            files=[entry if one["path"] == entry["path"] else one for one in manifest["files"]]
        ),
    )


def test_a_flipped_byte_in_any_file_is_5(exported: Path, refuses: Callable[..., None]):
    for path in sorted(exported.rglob("*")):
        if not path.is_file() or not path.stat().st_size:
            continue
        whole = path.read_bytes()
        path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        refuses(exported, CorruptDataError)
        path.write_bytes(whole + b" ")
        if path.name != "manifest.json":
            refuses(exported, CorruptDataError)
        path.unlink()
        refuses(exported, (CorruptDataError, NotFoundError))
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "runs/../../secret", "runs\\x", "runs/{run}/../../../secret"]
)
def test_a_manifest_that_names_a_file_outside_is_7(
    path: str, exported: Path, tmp_path: Path, refuses: Callable[..., None]
):
    (tmp_path / "secret").write_text("private")
    digest = hashlib.sha256(b"private").hexdigest()
    entry = {"path": path.format(run=next((exported / "runs").iterdir()).name), "size": 7, "sha256": digest}
    change_manifest(exported, lambda manifest: manifest["files"].append(entry))
    refuses(exported, UnsafeError)


def test_a_link_in_an_export_is_7(exported: Path, tmp_path: Path, refuses: Callable[..., None]):
    (run,) = (exported / "runs").iterdir()
    (tmp_path / "b.txt").write_text("b")
    (run / "artifacts" / "sub" / "b.txt").unlink()
    (run / "artifacts" / "sub" / "b.txt").symlink_to(tmp_path / "b.txt")
    refuses(exported, UnsafeError)
    shutil.rmtree(run / "artifacts" / "sub")
    (run / "artifacts" / "sub").symlink_to(tmp_path)
    refuses(exported, UnsafeError)


@pytest.mark.parametrize(
    "fields",
    [
        {"run_id": "another"}, {"run_id": 3}, {"name": None}, {"status": "DONE"}, {"lifecycle_stage": "gone"},
        {"start_time": "now"}, {"start_time": 2**70}, {"user": 3}, {"experiment": "x"}, {"experiment": {"name": "x"}},
        {"params": {"a": 1}}, {"params": []}, {"tags": {"a": None}}, {"tags": {"a": "\ud800"}}, {"datasets": [{}]},
        {"origin": None}, {"more": 1}, {"parent_run_id": ["x"]},
    ],
    ids=str,
)  # fmt: skip
def test_a_run_that_is_no_run_is_5(fields: dict[str, Any], exported: Path, refuses: Callable[..., None]):
    change_run(exported, **fields)
    refuses(exported, CorruptDataError)


@pytest.mark.parametrize("runs", [["../x"], ["a/b"], [".."], [""], [".hidden"]])
def test_an_id_that_is_no_name_is_7(runs: list[str], exported: Path, refuses: Callable[..., None]):
    change_manifest(exported, lambda manifest: manifest.update(runs=runs))
    refuses(exported, UnsafeError)


def test_tags_of_the_import_itself_are_not_taken_from_an_export(exported: Path, uri: str, make_store: Any):
    change_run(exported, tags={"agentnn.import_unfinished": "true", "agentnn.imported_run_id": "other", "kept": "yes"})
    target = make_store("sqlite")
    (run,) = ModelManager(target).import_runs(exported)
    tags = MlflowClient(target).get_run(run.run_id).data.tags
    assert (tags["kept"], tags["agentnn.imported_run_id"]) == ("yes", run.imported_run_id)
    assert "agentnn.import_unfinished" not in tags


def test_an_import_does_not_write_files_where_the_store_says_system_folders(exported: Path, make_store: Any):
    target = make_store("sqlite")
    MlflowClient(target).create_experiment("files", artifact_location="/etc")
    with pytest.raises(UnsafeError, match="system folder"):
        ModelManager(target).import_runs(exported)
    assert not list(Path("/etc").glob("*/artifacts"))
