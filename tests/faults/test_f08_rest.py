"""F08, A09 on reading: what a server may do to us, each said for what it is, and who gets to see a token."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import time
import zlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import in_process
from faults.rough_server import RoughServer, reply
from faulty_proxy import FaultyProxy

from agentnn.errors import AgentNNError, CorruptDataError, StoreUnavailable, UsageError
from agentnn.query.runs import RunQuery
from agentnn.settings import Settings
from agentnn.stores.opening import open_registry, open_store
from agentnn.stores.rest import transport
from agentnn.stores.rest.store import RestStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from real_stores import MlflowServer

EXPERIMENT = {"experiment_id": "0", "name": "Default", "lifecycle_stage": "active"}
CUT_OFF = gzip.compress(b"{}", mtime=0)[:-4]
EXPERIMENTS = {"experiments": [EXPERIMENT]}
TOKEN = "t0ken-of-this-test"  # noqa: S105


@pytest.fixture(autouse=True)
def _in_no_hurry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test waits between tries, and none reads the files of whoever runs it."""
    monkeypatch.setattr(transport, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setenv("HOME", str(tmp_path))


def always(said: bytes | None) -> Callable[[str, int], bytes | None]:
    return lambda head, number: said


def names(uri: str, credentials: Mapping[str, str] | None = None) -> list[str]:
    store = open_store(Settings(uri, registry_uri=uri, credentials=credentials or {}))
    assert isinstance(store, RestStore)
    try:
        return [one.name for one in store.list_experiments()]
    finally:
        store.close()


def refusal(said: bytes | None, **settings: Any) -> AgentNNError:
    with RoughServer(always(said)) as server, pytest.raises(AgentNNError) as caught:
        names(server.url, **settings)
    return caught.value


class TestAnswersThatAreNone:
    @pytest.mark.parametrize(
        ("said", "kind", "message", "hint"),
        [
            (reply(body=b"<!doctype html><h1>Sign in</h1>", Content_Type="text/html"), StoreUnavailable,
             "not an MLflow server", "tracking URI"),
            (reply("302 Found", Location="https://sso.corp.example/login?next=x"), StoreUnavailable,
             "sign in first: it sends us to https://sso.corp.example/login", "MLFLOW_TRACKING_TOKEN"),
            (reply("301 Moved Permanently", Location="https://elsewhere.example/api"), StoreUnavailable,
             "sends us from /api/2.0/mlflow/experiments/search to https://elsewhere.example/api", "--tracking-uri"),
            (reply("401 Unauthorized", b"no"), StoreUnavailable, "does not know who asks: 401", "_TOKEN"),
            (reply("403 Forbidden", {"error_code": "PERMISSION_DENIED", "message": "Permission denied"}),
             StoreUnavailable, "does not let us do this: 403 Forbidden (Permission denied)", "owner"),
            (reply("502 Bad Gateway", b"<html>nginx"), StoreUnavailable, "before it says 502 Bad Gateway", "try"),
            (reply("503 Service Unavailable", b"busy"), StoreUnavailable, "503 Service Unavailable", "try again"),
            (reply("504 Gateway Timeout"), StoreUnavailable, "504 Gateway Timeout", "try again"),
            (reply("429 Too Many Requests"), StoreUnavailable, "too many requests", "later"),
            (reply("500 Internal Server Error", b"oops"), StoreUnavailable, "500 Internal Server Error", "log"),
            (reply("404 Not Found", b"<html>Not Found"), StoreUnavailable,
             "there is no /api/2.0/mlflow/experiments/search (404 Not Found): it is not an MLflow server", "path"),
            (reply("404 Not Found", {"error_code": "ENDPOINT_NOT_FOUND", "message": "x"}), StoreUnavailable,
             "too old for this", "update"),
            (reply(body=b'{"experiments": ['), StoreUnavailable, "no JSON", "tracking URI"),
            (reply(body=b"[]"), StoreUnavailable, "no JSON", "tracking URI"),
            (reply(body=b"[" * 200_000), StoreUnavailable, "no JSON", "tracking URI"),
            (reply(body={"experiments": 3}), CorruptDataError, "not as MLflow writes it", "version"),
            (reply(body={"experiments": [{}]}), CorruptDataError, "not as MLflow writes it", "version"),
            (reply(body={"experiments": [], "next_page_token": "x"}), CorruptDataError, "without end", "version"),
            (reply("400 Bad Request", {"error_code": "INVALID_PARAMETER_VALUE", "message": "no such thing"}),
             UsageError, "no such thing", ""),
            (reply("400 Bad Request", {"error_code": "BAD_REQUEST", "message": "(sqlite3) database is locked"}),
             StoreUnavailable, "database is locked", "log"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", StoreUnavailable, "no HTTP", "tracking URI"),
            (b"HTTP/1.1 200 OK\r\n" + b"a" * 70_000, StoreUnavailable, "does not end", "tracking URI"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", StoreUnavailable, "no number", "tracking URI"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", StoreUnavailable, "no HTTP", "URI"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", StoreUnavailable, "no HTTP", "URI"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 999, StoreUnavailable,
             "does not end", "URI"),
            (reply(body=b"\x0b\x02", Content_Encoding="br"), StoreUnavailable, "compressed by 'br'", "URI"),
            (reply(body=EXPERIMENTS, Content_Encoding="gzip"), StoreUnavailable, "no gzip", "URI"),
            (reply(body=CUT_OFF, Content_Encoding="gzip"), StoreUnavailable, "too early", "URI"),
            (reply(body=b"{", Content_Length="9", Connection="close"), StoreUnavailable, "ended the connection", "URI"),
            (None, StoreUnavailable, "ended the connection", "tracking URI"),
        ],
    )  # fmt: skip
    def test_each_is_said_for_what_it_is(
        self, said: bytes | None, kind: type[AgentNNError], message: str, hint: str
    ) -> None:
        error = refusal(said)
        assert type(error).__mro__.index(kind) <= 1
        assert message in error.message
        assert hint in error.hint

    def test_the_command_exits_with_4_and_shows_no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
        said = reply("401 Unauthorized", {"error_code": "UNAUTHENTICATED", "message": f"bad token {TOKEN}"})
        with RoughServer(always(said)) as server:
            ran = in_process("--tracking-uri", server.url, "run", "list")
        assert (ran.returncode, ran.stdout) == (4, "")
        assert "401" in ran.stderr
        assert TOKEN not in ran.stderr

    def test_an_experiment_that_is_not_there_is_none(self) -> None:
        missing = reply("404 Not Found", {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No experiment"})
        with RoughServer(always(missing)) as server:
            store = open_store(Settings(server.url, registry_uri=server.url))
            assert store.find_experiment(name="x") is None
            assert store.find_runs(["a" * 32]) == []
            assert store.metric_history("a" * 32, "m") == []
            assert open_registry(Settings(server.url, registry_uri=server.url)).find_model("m") is None


class TestTries:
    def test_what_passes_is_waited_for(self) -> None:
        answers = [None, reply("503 Service Unavailable", Retry_After="0"), reply(body=EXPERIMENTS)]
        with RoughServer(lambda head, number: answers[number]) as server:
            assert names(server.url) == ["Default"]
            assert len(server.heads) == 3

    def test_a_read_is_tried_three_times_or_as_the_user_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for said, count in (("", 3), ("0", 1), ("5", 6)):
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", said)
            with RoughServer(always(reply("502 Bad Gateway"))) as server, pytest.raises(StoreUnavailable):
                names(server.url)
            assert len(server.heads) == count

    def test_a_write_is_sent_once(self) -> None:
        from agentnn.stores.rest.opening import open_transport

        with RoughServer(always(reply("503 Service Unavailable"))) as server:
            asking = open_transport(server.url, Settings(server.url, registry_uri=server.url))
            assert asking is not None
            with pytest.raises(StoreUnavailable):
                asking.post("runs/create", {}, read=False)
            assert len(server.heads) == 1

    @pytest.mark.parametrize("mode", ["hang", "reset", "refuse", "html", "status:503"])
    def test_nobody_waits_longer_than_said(
        self, mode: str, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "0.3")
        with FaultyProxy(mlflow_server.url) as proxy:
            proxy.mode = mode
            began = time.monotonic()
            ran = in_process("--tracking-uri", proxy.url, "run", "list")
            assert time.monotonic() - began < 25  # with our own limits it would be 30 and more
            assert (ran.returncode, ran.stdout) == (4, "")
            assert ran.stderr.startswith("error: ")
            proxy.mode = "pass"
            monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
            assert in_process("--tracking-uri", proxy.url, "experiment", "list").returncode == 0

    def test_a_head_that_drips_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "0.3")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

        def drip(head: str, number: int) -> bytes:
            time.sleep(1)
            return reply(body=EXPERIMENTS)

        with RoughServer(drip) as server, pytest.raises(StoreUnavailable, match="nothing came for 0.3 s"):
            names(server.url)

    @pytest.mark.parametrize("framing", ["Content-Length: 900", "Transfer-Encoding: chunked", "Connection: close"])
    def test_a_body_that_drips_is_not_waited_for(self, framing: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "0.3")

        def dripping() -> Iterator[bytes]:
            yield f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode()
            for _ in range(300):
                time.sleep(0.05)
                yield b"1\r\n \r\n" if "chunked" in framing else b" "

        with RoughServer(lambda head, number: dripping()) as server:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="too little came for 0.3 s"):
                names(server.url)
            assert time.monotonic() - began < 5
            assert len(server.heads) == 1

    def test_a_long_body_may_take_its_time_as_long_as_it_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "0.3")
        said = reply(body={**EXPERIMENTS, "more": "x" * 20_000})

        def in_parts() -> Iterator[bytes]:
            for start in range(0, len(said), 2000):
                time.sleep(0.1)
                yield said[start : start + 2000]

        with RoughServer(lambda head, number: in_parts()) as server:
            assert names(server.url) == ["Default"]

    @pytest.mark.parametrize(("name", "value"), [("TIMEOUT", "soon"), ("TIMEOUT", "0"), ("MAX_RETRIES", "-1")])
    def test_a_limit_that_is_none_is_2(self, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", value)
        with pytest.raises(UsageError, match=name):
            names("http://127.0.0.1:9")

    @pytest.mark.parametrize("uri", ["http://", "http://:80", "http://a b", "http://[::1", "http://h:port"])
    def test_an_address_that_is_none_is_2(self, uri: str) -> None:
        with pytest.raises(UsageError, match="no address of a server"):
            names(uri)


class TestOneConnection:
    def test_many_questions_go_over_one(self) -> None:
        with RoughServer(always(reply(body=EXPERIMENTS))) as server:
            store = open_store(Settings(server.url, registry_uri=server.url))
            assert [len(store.list_experiments()) for _ in range(5)] == [1] * 5
            assert (server.connections, len(server.heads)) == (1, 5)

    @pytest.mark.parametrize(
        "said",
        [
            reply(body=EXPERIMENTS, Connection="close"),
            b"HTTP/1.1 100 Continue\r\n\r\n" + reply(body=EXPERIMENTS),
            reply(
                body=b'8\r\n{"experi\r\n9;x=y\r\nments":[]\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n',
                Transfer_Encoding="chunked",
            ),
            b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + b'{"experiments": []}',
            b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
            reply(body=gzip.compress(b'{"experiments": []}', mtime=0), Content_Encoding="gzip"),
            reply(body=zlib.compress(b'{"experiments": []}'), Content_Encoding="deflate"),
        ],
    )
    def test_every_way_to_frame_an_answer_is_read(self, said: bytes) -> None:
        with RoughServer(always(said)) as server:
            store = open_store(Settings(server.url, registry_uri=server.url))
            assert [len(store.list_experiments()) <= 1 for _ in range(3)] == [True] * 3
            assert len(server.heads) == 3

    def test_one_that_the_server_has_ended_meanwhile_is_made_anew_without_a_try(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        answers = [reply(body=EXPERIMENTS), None, reply(body=EXPERIMENTS)]
        with RoughServer(lambda head, number: answers[number]) as server:
            store = open_store(Settings(server.url, registry_uri=server.url))
            assert len(store.list_experiments()) == len(store.list_experiments()) == 1
            assert server.connections == 2

    def test_two_answers_are_read_side_by_side(self) -> None:
        from agentnn.stores.rest.opening import open_transport

        with RoughServer(lambda head, number: reply(body=str(number).encode() * 3_000_000)) as server:
            asking = open_transport(server.url, Settings(server.url, registry_uri=server.url))
            assert asking is not None
            first, second = asking.open("/a", 5), asking.open("/b", 5)
            assert (second.read()[:2], len(first.read())) == (b"11", 3_000_000)
            asking.open("/c", 5).close()
            assert asking.open("/d", 5).read()[:2] == b"33"
            assert server.connections == 3

    def test_a_forked_process_has_its_own(self) -> None:
        with RoughServer(always(reply(body=EXPERIMENTS))) as server:
            store = open_store(Settings(server.url, registry_uri=server.url))
            store.list_experiments()
            child = os.fork()
            if child == 0:
                os._exit(0 if len(store.list_experiments()) == 1 else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert len(store.list_experiments()) == 1
            assert server.connections == 2


class TestWhoAsks:
    def authorization(
        self, credentials: Mapping[str, str] | None = None, at: str = "", certificate: Path | None = None
    ) -> str | None:
        with RoughServer(always(reply(body=EXPERIMENTS)), certificate) as server:
            names(server.url.replace("://", f"://{at}"), credentials)
        lines = [line for line in server.heads[0].split("\r\n") if line.startswith("Authorization: ")]
        return lines[0].removeprefix("Authorization: ") if lines else None

    def test_the_credentials_are_those_that_mlflow_would_send(self, tmp_path: Path) -> None:
        def basic(text: str) -> str:
            return "Basic " + b64encode(text.encode()).decode()

        both = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "s:é", "MLFLOW_TRACKING_TOKEN": TOKEN}
        assert self.authorization() is None
        assert self.authorization({"MLFLOW_TRACKING_TOKEN": TOKEN}) == f"Bearer {TOKEN}"
        assert self.authorization({"MLFLOW_TRACKING_USERNAME": "ada"}) is None
        assert self.authorization(both) == basic("ada:s:é")
        assert self.authorization(both, "bob:p%40ss@") == basic("bob:p@ss")
        (tmp_path / ".mlflow").mkdir()
        (tmp_path / ".mlflow" / "credentials").write_text(
            "[mlflow]\nmlflow_tracking_username = eve\nmlflow_tracking_password = kept\n"
        )
        assert self.authorization() == basic("eve:kept")
        (tmp_path / ".netrc").write_text("machine localhost login nick password net\n")
        assert self.authorization(both) == basic("nick:net")

    def test_a_token_follows_no_redirect(self) -> None:
        with RoughServer(always(reply(body=EXPERIMENTS))) as other:
            said = reply("307 Temporary Redirect", Location=f"{other.url}/api/2.0/mlflow/experiments/search")
            with RoughServer(always(said)) as server, pytest.raises(StoreUnavailable, match="is not followed"):
                names(server.url, {"MLFLOW_TRACKING_TOKEN": TOKEN})
            assert other.heads == []

    def test_a_credential_with_a_line_break_is_no_header(self) -> None:
        with pytest.raises(UsageError, match="line break"):
            names("http://127.0.0.1:9", {"MLFLOW_TRACKING_TOKEN": "a\r\nX-Evil: 1"})

    @pytest.mark.parametrize(
        ("variable", "value"),
        [("MLFLOW_TRACKING_AWS_SIGV4", "true"), ("MLFLOW_TRACKING_AUTH", "kubernetes"), ("http_proxy", "http://p:1")],
    )
    def test_what_only_mlflow_can_is_left_to_it(
        self, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from agentnn.stores.mlflow.store import MlflowClientStore

        monkeypatch.setenv(variable, value)
        uri = "http://mlflow.example:5000"
        assert isinstance(open_store(Settings(uri, registry_uri=uri)), MlflowClientStore)

    def test_a_proxy_is_asked_for_a_server_that_is_not_excepted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with RoughServer(always(reply(body=EXPERIMENTS))) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url.replace("://", "://ada:secret@"))
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            uri = "http://mlflow.invalid:5000"
            listed = open_store(Settings(uri, registry_uri=uri)).list_experiments()
            assert [one.name for one in listed] == ["Default"]
            [head] = proxy.heads
            assert head.startswith(f"POST {uri}/api/2.0/mlflow/experiments/search HTTP/1.1")
            assert f"Proxy-Authorization: Basic {b64encode(b'ada:secret').decode()}" in head
            for excepted in ("mlflow.invalid", ".invalid", "*"):
                monkeypatch.setenv("no_proxy", excepted)
                with pytest.raises(StoreUnavailable, match="does not answer") as failed:
                    names(uri)
                assert "secret" not in str(failed.value)
            assert len(proxy.heads) == 1

    def test_a_plug_in_that_adds_headers_is_left_to_mlflow(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from agentnn.stores.rest.access import find_access

        (tmp_path / "plug-1.0.dist-info").mkdir()
        (tmp_path / "plug-1.0.dist-info" / "entry_points.txt").write_text("[mlflow.request_header_provider]\na = b:C\n")
        assert find_access("http://h", Settings("http://h")) is not None
        monkeypatch.syspath_prepend(str(tmp_path))
        assert find_access("http://h", Settings("http://h")) is None


class TestWorkspaces:
    def test_a_workspace_is_named_in_every_question(self) -> None:
        answers = [reply(body={"workspaces_enabled": True}), reply(body=EXPERIMENTS)]
        with RoughServer(lambda head, number: answers[number]) as server:
            store = open_store(Settings(server.url, registry_uri=server.url, workspace="team-a"))
            assert len(store.list_experiments()) == 1
        assert server.heads[0].startswith("GET /api/3.0/mlflow/server-info ")
        assert all("X-MLFLOW-WORKSPACE: team-a" in head for head in server.heads)

    @pytest.mark.parametrize(
        "said", [reply(body={"workspaces_enabled": False}), reply(body={}), reply("404 Not Found", b"<html>")]
    )
    def test_a_server_without_them_would_show_everybodys_runs(self, said: bytes) -> None:
        with RoughServer(always(said)) as server, pytest.raises(UsageError, match="no workspaces"):
            open_store(Settings(server.url, registry_uri=server.url, workspace="team-a"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    key = file.with_name("key.pem")
    made = ["-keyout", str(key), "-out", str(file), "-subj", "/CN=localhost", "-days", "2", "-nodes"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-addext", "subjectAltName=DNS:localhost", *made]
    subprocess.run(command, check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + key.read_bytes())
    return file


class TestTls:
    def test_a_certificate_has_to_be_good_unless_it_is_said_otherwise(
        self, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with RoughServer(always(reply(body=EXPERIMENTS)), certificate) as server:
            with pytest.raises(StoreUnavailable, match="TLS: .*certificate") as caught:
                names(server.url)
            assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in caught.value.hint
            assert server.heads == []
            monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
            assert names(server.url) == ["Default"]
            monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(certificate))
            assert names(server.url) == ["Default"]
            monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
            with pytest.raises(UsageError, match="contradict"):
                names(server.url)
            monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
            assert names(server.url) == ["Default"]

    def test_a_file_of_certificates_that_is_none_is_2(self, monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", "/nowhere.pem")
        said = always(reply(body=EXPERIMENTS))
        unread = pytest.raises(UsageError, match=r"/nowhere\.pem can't be read")
        with RoughServer(said, certificate) as server, unread:
            names(server.url)


def test_a_registry_of_its_own_is_asked_there() -> None:
    models = reply(body={"registered_models": []})
    with RoughServer(always(models)) as registry, RoughServer(always(None)) as tracking:
        assert open_registry(Settings(tracking.url, registry_uri=registry.url)).list_models() == []
        assert (len(registry.heads), tracking.heads) == (1, [])


def test_a_search_over_no_experiment_asks_for_no_run() -> None:
    missing = reply("404 Not Found", {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No experiment"})
    with RoughServer(lambda head, number: missing if "experiments/get" in head else reply(body={})) as server:
        store = open_store(Settings(server.url, registry_uri=server.url))
        assert list(store.search_runs(RunQuery())) == []
        assert store.count_runs(RunQuery(("7",))) == {}
        assert len(server.heads) == 2
