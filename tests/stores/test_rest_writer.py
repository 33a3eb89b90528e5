"""What is written over the REST API is what MLflow's client would have written: the rows of both are compared.

And what a server says is not believed: it may be none of MLflow's, or name places where no file may go.
"""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from contextlib import closing, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from faults.rough_server import Answer, RoughServer, reply
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from real_stores import make_equal
from stores.writer_requests import NOON, REQUESTS, Player

from agentnn.errors import (
    AgentNNError,
    ConflictError,
    CorruptDataError,
    NotFoundError,
    StoreUnavailable,
    UnsafeError,
    UsageError,
)
from agentnn.records import Metric
from agentnn.settings import Settings
from agentnn.stores.mlflow.importer import MlflowImporter
from agentnn.stores.mlflow.writer import MlflowWriter
from agentnn.stores.rest import histories
from agentnn.stores.rest.importer import RestImporter
from agentnn.stores.rest.writer import RestWriter
from agentnn.stores.run_writer import FIRST_ID_TAG, UUID_TAG, dataset_inputs, open_importer, open_writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from real_stores import MlflowServer

RUN_ID = "ab" * 16


@pytest.fixture(scope="module")
def writers(
    mlflow_server: MlflowServer, _server_database: Path, _server_template: Path
) -> tuple[RestWriter, MlflowWriter]:
    """What writes to the same server, by our means and by MLflow's."""
    make_equal(_server_database, _server_template)  # whose Default experiment keeps its files with the server
    said = Settings(mlflow_server.url)
    ours = open_writer(said)
    assert isinstance(ours, RestWriter)
    return ours, MlflowWriter(said)


@pytest.fixture(scope="module")
def writer(writers: tuple[RestWriter, MlflowWriter]) -> RestWriter:
    return writers[0]


@pytest.fixture(scope="module")
def client(mlflow_server: MlflowServer) -> MlflowClient:
    return MlflowClient(mlflow_server.url)


@pytest.fixture
def run_id(writer: RestWriter) -> str:
    """A run of this test's own."""
    return writer.create_run("0", "first", NOON, {})


def rows_of(player: Player, database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the player's last runs, with the place of a run for its id, and no times of the clock."""
    found = {}
    made = player.runs[player.first :]
    with closing(sqlite3.connect(database)) as connection:
        for table in ("runs", "metrics", "latest_metrics", "params", "tags"):
            some = ", ".join("?" * len(made))
            cursor = connection.execute(f"SELECT * FROM {table} WHERE run_uuid IN ({some})", made)
            names = [one[0] for one in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
            found[table] = sorted((tuple(_plain(row, player)) for row in rows), key=repr)
    return found


def _plain(row: dict[str, Any], player: Player) -> list[Any]:
    if row.get("deleted_time") is not None:
        row["deleted_time"] = "some time"
    return [player.without_ids(value) if isinstance(value, str) else value for value in row.values()]


@given(requests=st.lists(REQUESTS, min_size=1, max_size=10))
@settings(max_examples=12, deadline=None)
def test_any_requests_leave_what_mlflows_client_leaves(
    writers: tuple[RestWriter, MlflowWriter], _server_database: Path, requests: list[tuple[Any, ...]]
) -> None:
    us, them = (Player(writer) for writer in writers)
    begin = [("create_run", 0, "first", {"team": "a"})]
    for request in [*begin, *requests]:
        assert us.play(request) == them.play(request), request
    assert rows_of(us, _server_database) == rows_of(them, _server_database)


def test_what_was_written_is_read_back(
    writer: RestWriter, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "_PAGE_OF_POINTS", 2)  # several pages
    experiment_id = writer.ensure_experiment("written over REST")
    assert writer.ensure_experiment("written over REST") == writer.ensure_experiment(experiment_id) == experiment_id
    run_id = writer.create_run(experiment_id, "first", NOON, {UUID_TAG: "u-1", "mlflow.user": "ana"})
    values = [1.0, math.nan, math.inf, -math.inf, 0.1]
    points = [Metric("a/ü m", value, step, NOON + step) for step, value in enumerate(values)]
    writer.log_batch(run_id, points, {"lr": "0.1", "empty": ""}, {"team": "🚀"})
    writer.terminate(run_id, "FAILED", NOON + 9)
    assert [repr(one) for one in writer.history(run_id, "a/ü m")] == [repr(one) for one in points]
    assert writer.history(run_id, "none") == []
    assert writer.params(run_id) == {"lr": "0.1", "empty": ""}
    assert writer.experiment_of(run_id) == experiment_id
    assert writer.find_runs_by_uuid(experiment_id, "u-1") == [run_id]
    assert writer.find_runs_by_uuid(experiment_id, "u-2") == []
    kept = client.get_run(run_id)
    assert (kept.info.status, kept.info.end_time, kept.info.user_id) == ("FAILED", NOON + 9, "ana")
    assert (kept.data.tags["team"], kept.data.metrics["a/ü m"]) == ("🚀", 0.1)
    writer.reopen(run_id)
    assert client.get_run(run_id).info.status == "RUNNING"


def test_a_run_that_lost_its_tags_is_found_by_its_start(writer: RestWriter) -> None:
    experiment_id = writer.ensure_experiment("begun over REST")
    writer.create_run(experiment_id, "begun", NOON, {UUID_TAG: "another's"})
    begun = writer.create_run(experiment_id, "begun", NOON, {})
    assert writer.find_run_without_tags(experiment_id, "begun", NOON) == begun
    assert writer.find_run_without_tags(experiment_id, "begun", NOON + 1) is None
    assert writer.find_run_without_tags(experiment_id, "other", NOON) is None


def test_what_is_deleted_stands_in_the_way_and_says_so(writer: RestWriter, client: MlflowClient, run_id: str) -> None:
    gone = writer.ensure_experiment("deleted over REST")
    client.delete_experiment(gone)
    with pytest.raises(ConflictError, match="still holds its name") as raised:
        writer.ensure_experiment("deleted over REST")
    assert raised.value.hint.endswith(f"agentnn experiment restore {gone}")
    writer.delete_run(run_id)
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    writer.delete_tag(run_id := writer.create_run("0", "x", NOON, {"a": "b"}), "a")
    writer.delete_tag(run_id, "never")
    assert "a" not in client.get_run(run_id).data.tags


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """A small file."""
    path = tmp_path / "note.txt"
    path.write_text("noted", encoding="utf-8")
    return path


REFUSED: dict[str, Callable[[Any, str], object]] = {
    "another value": lambda writer, run: writer.log_batch(run, params={"lr": "2"}),
    "odd key": lambda writer, run: writer.log_batch(run, [Metric("a\nb", 1.0, 0, NOON)]),
    "no key": lambda writer, run: writer.log_batch(run, tags={"": "b"}),
    "no such run": lambda writer, _: writer.log_batch("0" * 32, tags={"a": "b"}),
    "no such run to end": lambda writer, _: writer.terminate("0" * 32, "FAILED", 1),
    "no such run to look at": lambda writer, _: writer.experiment_of("0" * 32),
    "no such experiment": lambda writer, _: writer.create_run("987654321", "x", NOON, {}),
    "odd name": lambda writer, _: writer.ensure_experiment("x" * 501),
    "no name": lambda writer, _: writer.ensure_experiment(""),
    "two names": lambda writer, _: writer.create_run("0", "a", NOON, {"mlflow.runName": "b"}),
    "odd file": lambda writer, run: writer.put_file(run, Path(__file__), "a#b/file.py"),
    "odder file": lambda writer, run: writer.put_file(run, Path(__file__), "%41.py"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_server_refuses_is_the_same_error(
    writers: tuple[RestWriter, MlflowWriter], run_id: str, what: str
) -> None:
    writers[0].log_batch(run_id, params={"lr": "1"})
    said = []
    for one in writers:
        with pytest.raises(AgentNNError) as raised:
            REFUSED[what](one, run_id)
        said.append(type(raised.value))
        assert raised.value.message
    assert said[0] is said[1]


def test_what_is_too_much_for_a_request_is_refused(writer: RestWriter, run_id: str) -> None:
    with pytest.raises(UsageError, match="at most 1000 metrics"):
        writer.log_batch(run_id, [Metric("m", 1.0, step, NOON) for step in range(1001)])


def test_half_a_character_is_refused_before_the_server_leaves_it_out(writer: RestWriter, run_id: str) -> None:
    for request in (
        lambda: writer.log_batch(run_id, tags={"a": "x\ud800"}),
        lambda: writer.create_run("0", "\ud800", NOON, {}),
    ):
        with pytest.raises(UsageError, match="half a character"):
            request()


@pytest.mark.parametrize("point", [Metric("m", 1.0, 2**63, NOON), Metric("m", 1.0, 0, -(2**63) - 1)])
def test_a_number_that_has_no_room_is_refused_before_it_is_sent(writer: RestWriter, run_id: str, point: Metric) -> None:
    with pytest.raises(UsageError, match="more than 64 bits"):
        writer.log_batch(run_id, [Metric("m", 1.0, 0, NOON), point])
    assert writer.history(run_id, "m") == []


class TestFiles:
    def test_they_arrive_under_any_name_that_mlflow_reads(
        self, writer: RestWriter, client: MlflowClient, run_id: str, mlflow_server: MlflowServer, tmp_path: Path
    ) -> None:
        names = ("plot.png", "deep/er/ü 🚀.txt", "a&b=c?d;e+f%.txt", "empty", "plot.png")
        for number, name in enumerate(names):
            source = tmp_path / Path(name).name
            source.write_bytes(b"" if name == "empty" else f"{name} {number}".encode() * 1000)
            writer.put_file(run_id, source, name)
            kept = mlflow_server.artifacts / "0" / run_id / "artifacts" / name
            assert kept.read_bytes() == source.read_bytes()
        assert sorted(one.path for one in client.list_artifacts(run_id)) == sorted(
            {name.partition("/")[0] for name in names}
        )

    def test_what_lies_on_this_machine_is_put_there(
        self, writer: RestWriter, client: MlflowClient, tmp_path: Path
    ) -> None:
        location = (tmp_path / "kept").as_uri()
        run_id = writer.create_run(client.create_experiment(f"at {location}", location), "local", NOON, {})
        writer.put_file(run_id, Path(__file__), f"a/{Path(__file__).name}")
        assert (tmp_path / "kept" / run_id / "artifacts" / "a" / Path(__file__).name).is_file()

    def test_what_the_server_keeps_is_not_what_was_sent(self) -> None:
        with Server(artifacts={"GET": reply(body=b"other")}) as server, pytest.raises(CorruptDataError, match="whole"):
            server.writer.put_file(RUN_ID, Path(__file__), "file.py")

    def test_what_the_server_does_not_keep_did_not_arrive(self) -> None:
        gone = reply("404 Not Found", {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such file"})
        with Server(artifacts={"GET": gone}) as server, pytest.raises(CorruptDataError, match="did not arrive"):
            server.writer.put_file(RUN_ID, Path(__file__), "file.py")

    def test_what_the_server_can_not_send_back_is_there_when_it_is_listed_whole(self, tmp_path: Path) -> None:
        """As with MLflow 3.5, which puts the name of a file into a header of ASCII."""
        source = tmp_path / "größe.txt"
        source.write_bytes(b"12345")
        fails = reply("500 Internal Server Error", b"oops")
        for size, arrived in ((5, True), (4, False)):
            listing = reply(body={"files": [{"path": "größe.txt", "is_dir": False, "file_size": size}]})
            said = nullcontext() if arrived else pytest.raises(StoreUnavailable, match="500 Internal")
            with Server(artifacts={"GET": fails, "LIST": listing}) as server, said:
                server.writer.put_file(RUN_ID, source, "a/größe.txt")

    @pytest.mark.parametrize(
        ("uri", "location"),
        [
            ("/etc/cron.d", "/etc"),
            (f"/etc/{RUN_ID}/artifacts", "/etc"),
            (
                f"http://elsewhere.example/api/2.0/mlflow-artifacts/artifacts/0/{RUN_ID}/artifacts",
                "mlflow-artifacts:/0",
            ),
            (f"mlflow-artifacts://elsewhere.example/0/{RUN_ID}/artifacts", "mlflow-artifacts://elsewhere.example/0"),
            (f"mlflow-artifacts:/1/{RUN_ID}/artifacts", "mlflow-artifacts:/0"),
            (f"sftp://elsewhere.example/0/{RUN_ID}/artifacts", "sftp://elsewhere.example/0"),
        ],
    )
    def test_no_file_goes_to_a_forged_place(self, uri: str, location: str) -> None:
        with Server(uri, location) as server, pytest.raises(UnsafeError):
            server.writer.put_file(RUN_ID, Path(__file__), "file.py")
        assert not any("mlflow-artifacts" in one.partition("\r\n")[0] for one in server.heads)

    def test_the_place_is_looked_up_once_for_many(self, note: Path) -> None:
        with Server(artifacts={"GET": reply(body=b"noted")}) as server:
            for name in ("a.txt", "b.txt"):
                server.writer.put_file(RUN_ID, note, name)
        asked = [head.split(" ", 2)[0] for head in server.heads]
        assert (asked, server.connections) == (["GET", "GET", "PUT", "GET", "PUT", "GET"], 2)
        assert "Content-Length: 5" in server.heads[2]

    def test_a_cloud_store_and_parts_are_left_to_mlflow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        left: list[str] = []
        monkeypatch.setattr(MlflowWriter, "put_file", lambda _, run_id, source, target: left.append(target))
        with Server(f"s3://bucket/0/{RUN_ID}/artifacts", "s3://bucket/0") as server:
            server.writer.put_file(RUN_ID, Path(__file__), "cloud.py")
        monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
        with Server() as server:
            server.writer.put_file(RUN_ID, Path(__file__), "parts.py")
        assert left == ["cloud.py", "parts.py"]

    def test_the_token_goes_along(self, note: Path) -> None:
        arrived = {"GET": reply(body=b"noted")}
        with Server(artifacts=arrived, credentials={"MLFLOW_TRACKING_TOKEN": "t0ken"}) as server:
            server.writer.put_file(RUN_ID, note, "note.txt")
        assert all("Authorization: Bearer t0ken" in head for head in server.heads)

    def test_a_refusal_is_heard_before_all_was_sent(self, tmp_path: Path) -> None:
        large = tmp_path / "large.bin"
        with large.open("wb") as file:
            file.truncate(1 << 30)
        too_large = reply("413 Request Entity Too Large", b"<html>413</html>", Connection="close")
        with Server(artifacts={"PUT": too_large}) as server:
            server.answers_early = True
            with pytest.raises(UsageError, match="takes nothing so large: 413"):
                server.writer.put_file(RUN_ID, large, "large.bin")
            server.wait_until_ended()
        assert server.unread < 1 << 30


ANSWERS: tuple[tuple[bytes, type[AgentNNError], str], ...] = (
    (reply("307 Temporary Redirect", Location="https://sso.corp.example/login"), StoreUnavailable, "sign in first"),
    (reply("301 Moved Permanently", Location="https://else.example/"), StoreUnavailable, "to https://else.example/"),
    (reply(body=b"<!doctype html><h1>Sign in</h1>", Content_Type="text/html"), StoreUnavailable, "a web page answers"),
    (reply("401 Unauthorized", b"no"), StoreUnavailable, "does not know who asks: 401"),
    (reply("403 Forbidden", {"error_code": "PERMISSION_DENIED", "message": "no EDIT"}), StoreUnavailable, "not let us"),
    (reply("413 Request Entity Too Large", b"<html>nginx"), UsageError, "takes nothing so large: 413"),
    (reply("429 Too Many Requests", Retry_After="1"), StoreUnavailable, "too many requests"),
    (reply("502 Bad Gateway", b"<html>nginx"), StoreUnavailable, "before it says 502 Bad Gateway"),
    (reply("503 Service Unavailable", b"busy"), StoreUnavailable, "503 Service Unavailable"),
    (reply("404 Not Found", b"nothing"), StoreUnavailable, "not an MLflow server"),
    (reply("400 Bad Request", {"error_code": "BAD_REQUEST", "message": "(x.OperationalError) read-only"}),
     StoreUnavailable, "read-only"),
    (reply("400 Bad Request",
           {"error_code": "BAD_REQUEST", "message": "(raised as a result of Query-invoked autoflush; x)\n"
            "(x.IntegrityError) duplicate\n(Background on this error at: https://sqlalche.me/e/20/gkpj)"}),
     UsageError, "IntegrityError"),
    (reply("400 Bad Request", {"error_code": "INVALID_STATE", "message": "no"}), ConflictError, "no"),
    (reply("404 Not Found", {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no run"}), NotFoundError, "no run"),
)  # fmt: skip


@pytest.mark.parametrize(("answer", "kind", "message"), ANSWERS)
def test_an_answer_that_is_none_is_said_for_what_it_is_and_the_write_sent_once(
    answer: bytes, kind: type[AgentNNError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
    with RoughServer(lambda *_: answer) as server:
        writer = open_writer(Settings(server.url))
        with pytest.raises(kind, match=message):
            writer.log_batch(RUN_ID, [Metric("m", 1.0, 0, NOON)])
    assert len(server.heads) == 1


def test_a_lost_reply_is_not_made_good_by_a_second_request() -> None:
    said = [reply(body={}), None]
    with RoughServer(lambda _, number: said[number]) as server:
        writer = open_writer(Settings(server.url))
        writer.log_batch(RUN_ID, tags={"a": "b"})
        with pytest.raises(StoreUnavailable, match="ended the connection"):
            writer.log_batch(RUN_ID, tags={"a": "c"})
    assert len(server.heads) == 2


def test_a_connection_that_the_server_has_ended_is_not_written_to() -> None:
    with RoughServer(lambda *_: reply(body={}, X_Note="connection: close")) as server:  # it ends it without a word
        writer = open_writer(Settings(server.url))
        for number in range(3):
            writer.log_batch(RUN_ID, tags={"a": str(number)})
            server.wait_until_ended()
    assert (len(server.heads), server.connections) == (3, 3)


def test_the_door_opens_it_and_mlflow_stays_unloaded(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("noted", encoding="utf-8")
    program = (
        "import sys; from pathlib import Path; from agentnn.settings import Settings\n"
        "from agentnn.records import Metric; from agentnn.stores.run_writer import open_writer\n"
        f"writer = open_writer(Settings({mlflow_server.url!r}))\n"
        "run = writer.create_run(writer.ensure_experiment('a'), 'b', 1, {})\n"
        "writer.log_batch(run, [Metric('m', 1.0, 0, 1)], {'lr': '1'})\n"
        "writer.put_file(run, Path('note.txt'), 'a/note.txt'); writer.terminate(run, 'FINISHED', 2)\n"
        "print(type(writer).__name__, [one for one in ('mlflow', 'requests', 'http.client') if one in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert answer.stdout.strip() == "RestWriter []"


def test_an_importer_asks_and_writes_as_mlflows_client_does(mlflow_server: MlflowServer, client: MlflowClient) -> None:
    said = Settings(mlflow_server.url)
    ours, theirs = open_importer(said), MlflowImporter(said)
    assert isinstance(ours, RestImporter)
    sets = [
        {"name": "prices", "digest": "d1", "source_type": "local", "source": "{}", "schema": None, "profile": "p",
         "tags": {"mlflow.data.context": "training", "b": "ü"}},
        {"name": "prices", "digest": "d2", "source_type": "local", "source": "{}", "schema": "s", "profile": None,
         "tags": {}},
    ]  # fmt: skip
    made = []
    for one in (ours, theirs):
        experiment_id = one.experiment_named("imported over REST", {"team": "a"})
        run_id = one.create_run(experiment_id, "past", NOON, {FIRST_ID_TAG: "x", "mlflow.user": "ana"})
        for _ in range(2):
            one.log_datasets(run_id, sets)
        one.set_status(run_id, "SCHEDULED", None)
        made.append((one.find_run(run_id), client.get_run(run_id)))
        one.set_status(run_id, "KILLED", NOON + 1)
        assert dataset_inputs(said, run_id) == sets
    (found, kept), (also_found, also_kept) = made
    assert found is not None
    assert also_found is not None
    assert found._replace(run_id="") == also_found._replace(run_id="")
    assert (kept.info.status, kept.info.end_time) == (also_kept.info.status, also_kept.info.end_time)
    past = list(ours.runs_with_tag(FIRST_ID_TAG))
    assert past == list(theirs.runs_with_tag(FIRST_ID_TAG))
    assert found in past
    assert also_found in past
    assert ours.find_run("no id at all") is theirs.find_run("no id at all") is None
    assert ours.experiment_named("imported over REST", {"team": "b", "more": "c"}) == experiment_id
    assert client.get_experiment(experiment_id).tags == {"team": "a", "more": "c"}
    client.delete_experiment(experiment_id)
    with pytest.raises(ConflictError, match="still holds its name"):
        ours.experiment_named("imported over REST", {})


def test_where_only_mlflow_knows_the_way_its_client_writes(
    mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_AWS_SIGV4", "true")
    assert isinstance(open_writer(Settings(mlflow_server.url)), MlflowWriter)


class Server(RoughServer):
    """Says where the files of its one run lie, and what a test has it say to those who send and fetch files."""

    def __init__(
        self,
        uri: str = f"mlflow-artifacts:/0/{RUN_ID}/artifacts",
        location: str = "mlflow-artifacts:/0",
        artifacts: dict[str, Answer] | None = None,
        credentials: dict[str, str] | None = None,
    ) -> None:
        super().__init__(self._answer_to)
        self._artifacts = {"PUT": reply(), **(artifacts or {})}
        info = {"run_id": RUN_ID, "experiment_id": "0", "status": "RUNNING", "artifact_uri": uri}
        self._run = {"run": {"info": info, "data": {}}}
        self._experiment = {"experiment": {"experiment_id": "0", "name": "Default", "artifact_location": location}}
        self._credentials = credentials or {}

    def __enter__(self) -> Server:
        super().__enter__()
        return self

    @cached_property
    def writer(self) -> RestWriter:
        opened = open_writer(Settings(self.url, credentials=self._credentials))
        assert isinstance(opened, RestWriter)
        return opened

    def _answer_to(self, head: str, _: int) -> Answer:
        method, path, _ = head.split(" ", 2)
        if "/mlflow-artifacts/" in path:
            return self._artifacts["LIST" if "?path=" in path else method]
        return reply(body=self._run if path.partition("?")[0].endswith("runs/get") else self._experiment)
