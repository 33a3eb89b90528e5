"""What all tests share: empty MLflow stores of every kind, migrated once a session by MLflow itself.

``make_store`` gives stores, ``mlflow_server`` and ``start_server`` servers, ``postgres`` the database server; each
starts what it needs when a test first asks for it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from mirrored_stores import Mirrors
from real_stores import (
    PROXIED,
    STORE_KINDS,
    MariaCluster,
    MlflowServer,
    PostgresCluster,
    copy_sqlite_store,
    end_senders,
    fail_or_skip,
    make_equal,
    make_once,
    why_no_mariadb,
    why_no_postgres,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


# No test is timed: a machine that is busy is no failure.
settings.register_profile("agentnn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("strong", parent=settings.get_profile("agentnn"))
settings.load_profile(os.environ.get("AGENTNN_TESTS", "agentnn"))


def pytest_configure() -> None:
    """Programs that tests start must hear Ctrl-C, also where the tests run in the background, which ignores it."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that of two processes which share the tests none is left alone with them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def _no_environment_of_the_developer() -> Iterator[None]:
    """No test may look into the store of the person who runs it."""
    names = [name for name in os.environ if name.startswith("MLFLOW_")]
    saved = {name: os.environ.pop(name) for name in names}
    yield
    os.environ.update(saved)


@pytest.fixture(scope="session")
def _made_for_all(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Where the processes that share the tests keep what one of them has made for all; None where there is but one."""
    return tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else None


@pytest.fixture(scope="session")
def template_database(tmp_path_factory: pytest.TempPathFactory, _made_for_all: Path | None) -> Path:
    """An empty MLflow database of the installed version; copy it, it takes seconds to make."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"

    def make() -> None:
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{path}").search_experiments()

    make_once(_made_for_all and _made_for_all / "mlflow.db", path, make)
    return path


@pytest.fixture
def database(tmp_path: Path, template_database: Path) -> Path:
    """An empty MLflow database of this test's own."""
    path = tmp_path / "mlflow.db"
    shutil.copyfile(template_database, path)
    return path


@pytest.fixture
def uri(database: Path) -> str:
    """The tracking URI of an empty MLflow database of this test's own."""
    return f"sqlite:///{database}"


@pytest.fixture(scope="session")
def _states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """New paths for the state folders of the session's tests."""
    folder = tmp_path_factory.mktemp("states")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def state_dir(_states: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this test's journals go, not yet made; its senders end with the test.

    It is outside ``tmp_path``, so that tests can look at all that is there.
    """
    path = next(_states)
    monkeypatch.setenv("AGENTNN_STATE_DIR", str(path))
    yield path
    end_senders(path)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are logged without being drawn: the seven of a training take two seconds, and others test them."""
    from agentnn.tracking import attachments

    monkeypatch.setattr(attachments, "_draw", lambda figure, place: place.write_bytes(b"undrawn"))


@pytest.fixture(scope="session")
def postgres(_made_for_all: Path | None) -> Iterator[PostgresCluster]:
    """A running PostgreSQL with a migrated template; a store of one's own is quickly copied from it."""
    if reason := why_no_postgres():
        fail_or_skip(reason)
    with PostgresCluster(_made_for_all and _made_for_all / "postgres") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def mariadb(_made_for_all: Path | None) -> Iterator[MariaCluster]:
    """A running MariaDB with one store, which whoever asks for it fills anew."""
    if reason := why_no_mariadb():
        if os.environ.get("AGENTNN_WITHOUT_MARIADB"):
            pytest.skip(reason)
        fail_or_skip(reason)
    with MariaCluster(_made_for_all and _made_for_all / "mariadb") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def mirrors(request: pytest.FixtureRequest) -> Iterator[Mirrors]:
    """Database servers that hold what a SQLite database holds."""
    with Mirrors(request) as servers:
        yield servers


@pytest.fixture(scope="session")
def _server_template(template_database: Path) -> Path:
    """The empty database of a server that keeps the artifacts itself."""
    path = template_database.with_name("server.db")
    copy_sqlite_store(template_database, path, PROXIED)
    return path


@pytest.fixture(scope="session")
def _server_database(_server_template: Path) -> Path:
    """The database of the session's server."""
    path = _server_template.with_name("session.db")
    shutil.copyfile(_server_template, path)
    _served.append((path, _server_template))
    return path


_served: list[tuple[Path, Path]] = []
"""The database of the session's server, once there is one, and what it held in the beginning."""


@pytest.fixture(scope="module", autouse=True)
def _server_emptied() -> Iterator[None]:
    """What the tests of one module left in the session's server is none of the next one's business."""
    yield
    for database, template in _served:
        make_equal(database, template)


@pytest.fixture(scope="session")
def mlflow_server(_server_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A running MLflow server on SQLite, with whatever earlier tests of the module left in it; don't kill it."""
    with MlflowServer(f"sqlite:///{_server_database}", tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def start_server(
    tmp_path_factory: pytest.TempPathFactory, template_database: Path, state_dir: Path
) -> Iterator[Callable[[str | None], MlflowServer]]:
    """Start a server of this test's own, to do with as it likes: on a given backend, or on a fresh SQLite store."""
    with ExitStack() as servers:

        def start(backend_uri: str | None = None) -> MlflowServer:
            folder = tmp_path_factory.mktemp("server")
            uri = backend_uri or copy_sqlite_store(template_database, folder / "mlflow.db", PROXIED)
            server = MlflowServer(uri, folder)
            server.start()
            servers.callback(server.kill)
            return server

        yield start
        end_senders(state_dir)


@pytest.fixture
def make_store(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    template_database: Path,
    state_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[str], str]]:
    """Make an empty store of one of ``STORE_KINDS``; returns its tracking URI.

    "server" is the session's server, emptied, so that there is one a test. "mlruns" sets MLFLOW_ALLOW_FILE_STORE, which
    is needed to write. "toml" is a folder of projects, which is not there yet. The test goes to ``tmp_path``: there
    MLflow puts the artifacts of new experiments of a database.
    """
    monkeypatch.chdir(tmp_path)
    made: list[tuple[str, str]] = []

    def make(kind: str) -> str:
        artifacts = str(tmp_path / "mlruns" / "0")
        match kind:
            case "sqlite":
                uri = copy_sqlite_store(template_database, tmp_path / f"store-{len(made)}.db", artifacts)
            case "postgresql":
                uri = request.getfixturevalue("postgres").create_store(artifacts)
            case "server":
                assert kind not in dict(made), "a second server is made by start_server"
                uri = request.getfixturevalue("mlflow_server").url
                make_equal(request.getfixturevalue("_server_database"), request.getfixturevalue("_server_template"))
            case "mlruns":
                monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
                uri = (tmp_path / f"store-{len(made)}").as_uri()
            case "toml":
                uri = f"toml:{tmp_path / f'store-{len(made)}'}"
            case _:
                raise ValueError(f"{kind!r} is none of {STORE_KINDS} and no toml")
        made.append((kind, uri))
        return uri

    yield make
    end_senders(state_dir)
    for kind, uri in made:
        if kind == "postgresql":
            request.getfixturevalue("postgres").drop_store(uri)
