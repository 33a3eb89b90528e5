"""The real parts of the tests: PostgreSQL, MariaDB, MLflow servers, copies of a migrated database.

Everything listens on 127.0.0.1 only, and each object ends the processes that it started, by their own ids.
"""

from __future__ import annotations

import fcntl
import http.client
import itertools
import json
import os
import pwd
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

STORE_KINDS = ("sqlite", "postgresql", "server", "mlruns")
"""What the fixture ``make_store`` makes."""

PROXIED = "mlflow-artifacts:/0"
"""Where the Default experiment of a server keeps its artifacts: with the server."""

PASSWORD = "c0rrect@horse/of%ada"
"""Of the role of ``PostgresCluster.with_password``; its quoted form in a URI differs from it."""

DEADLINE_S = 120.0
"""For what is no promise: the machine may be busy."""


def make_once(kept: Path | None, place: Path, make: Callable[[], None]) -> None:
    """Have something made at a place, or put the copy there that a neighbour keeps who has made the same."""
    if kept is None:
        make()
        return
    with kept.with_name(f"{kept.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kept.exists():
            subprocess.run(["cp", "-a", kept, place], check=True)
        else:
            make()
            subprocess.run(["cp", "-a", place, f"{kept}.new"], check=True)
            Path(f"{kept}.new").rename(kept)


class PostgresCluster:
    """A PostgreSQL server of its own, in a temporary folder, without the costs of being safe.

    Nobody needs a password but the role of :meth:`with_password`. As root it runs as another user, since PostgreSQL
    refuses root.

    Args:
        kept: Where a neighbour keeps the folder of one that was made just now, or finds ours.
    """

    TEMPLATE = "template_mlflow"

    def __init__(self, kept: Path | None = None) -> None:
        self._kept = kept
        self._programs = _postgres_programs()
        # pytest's own folders are closed to the other user.
        self._folder = Path(tempfile.mkdtemp(prefix="agentnn-postgres-"))
        self._data = self._folder / "data"
        if os.geteuid() == 0:
            user = _unprivileged()
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        self._process: subprocess.Popen[Any] | None = None
        self._numbers = itertools.count(1)
        self.port = free_port()

    def __enter__(self) -> PostgresCluster:
        try:
            make_once(self._kept, self._data, self._make)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start the server on what the folder holds, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        log = self._folder / "log"
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, **self._as_user())
        self._process = process
        _wait_for(self._answers, process, log)

    def stop(self) -> None:
        """Shut the server down, breaking off its sessions; the data stay, and ``start`` goes on with them."""
        if self._process is not None:
            _end(self._process, signal.SIGINT)
            self._process = None

    def create_store(self, artifacts: str) -> str:
        """The URI of a fresh MLflow store, whose Default experiment keeps its artifacts at a given place."""
        name = f"store_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {self.TEMPLATE}")
        self.execute("UPDATE experiments SET artifact_location = %s", [artifacts], database=name)
        return self._uri(name)

    def drop_store(self, uri: str) -> None:
        """Delete a store of ``create_store``, whoever is connected to it."""
        self.execute(f"DROP DATABASE {uri.rpartition('/')[2]} WITH (FORCE)")

    def with_password(self, uri: str) -> str:
        """The same store for a role that has to give ``PASSWORD``, which stands in the URI."""
        return uri.replace("//agentnn@", f"//keeper:{quote(PASSWORD, safe='')}@")

    def execute(self, statement: str, values: list[Any] | None = None, *, database: str = "postgres") -> list[Any]:
        """The rows of one SQL statement, committed."""
        import psycopg

        with psycopg.connect(self._uri(database).replace("+psycopg", ""), autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def _uri(self, database: str) -> str:
        return f"postgresql+psycopg://agentnn@127.0.0.1:{self.port}/{database}"

    def _make(self) -> None:
        self._initialise()
        self.start()
        self._make_template()
        self.stop()

    def _initialise(self) -> None:
        options = ["--username=agentnn", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        command = [str(self._programs / "initdb"), "-D", str(self._data), *options]
        subprocess.run(command, check=True, timeout=DEADLINE_S, stdout=subprocess.DEVNULL, **self._as_user())
        rules = ("host all keeper 127.0.0.1/32 scram-sha-256", "host all all 127.0.0.1/32 trust")
        (self._data / "pg_hba.conf").write_text("\n".join(rules) + "\n", encoding="utf-8")

    def _make_template(self) -> None:
        from mlflow import MlflowClient

        self.execute(f"CREATE ROLE keeper SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
        self.execute(f"CREATE DATABASE {self.TEMPLATE}")
        MlflowClient(self._uri(self.TEMPLATE)).search_experiments()
        # MLflow keeps its connections, and a database with connections can't be copied.
        self.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", [self.TEMPLATE]
        )

    def _answers(self) -> bool:
        import psycopg

        with suppress(psycopg.OperationalError):
            return bool(self.execute("SELECT 1"))
        return False

    def _as_user(self) -> dict[str, Any]:
        shared: dict[str, Any] = {"cwd": self._folder, "env": {"PATH": os.defpath, "LC_ALL": "C"}}
        if os.geteuid() != 0:
            return shared
        user = _unprivileged()
        return {**shared, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class MariaCluster:
    """A MariaDB server of its own, in a temporary folder, without the costs of being safe; its root has no password.

    MLflow's URIs call it ``mysql``. As root it runs as another user, since MariaDB refuses root.

    Args:
        kept: Where a neighbour keeps the folder of one that was made just now, or finds ours.
        memory: How much of its data it keeps in memory.
    """

    TEMPLATE = "template_mlflow"

    def __init__(self, kept: Path | None = None, *, memory: str = "64M") -> None:
        self._kept, self._memory = kept, memory
        # In memory where there is such a folder: each of MLflow's sixty migrations waits for the disk.
        shared = Path("/dev/shm")
        place = shared if os.access(shared, os.W_OK) else None
        self._folder = Path(tempfile.mkdtemp(prefix="agentnn-maria-", dir=place))
        self._data = self._folder / "data"
        if os.geteuid() == 0:
            user = _unprivileged("mysql")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        self._process: subprocess.Popen[Any] | None = None
        self.port = free_port()

    def __enter__(self) -> MariaCluster:
        try:
            make_once(self._kept, self._data, self._make)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def uri(self) -> str:
        """Of the one store there is, with MLflow's tables; copying a database takes as long as making it."""
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/{self.TEMPLATE}"

    def start(self) -> None:
        """Start the server on what the folder holds, and wait until it answers."""
        options = [
            *self._options, "--bind-address=127.0.0.1", f"--port={self.port}", f"--socket={self._folder / 'socket'}",
            f"--pid-file={self._folder / 'pid'}", "--skip-log-bin", "--skip-name-resolve",
        ]  # fmt: skip
        log = self._folder / "log"
        with log.open("ab") as output:
            process = subprocess.Popen([_maria_program("mariadbd"), *options], stdout=output, stderr=output)
        self._process = process
        _wait_for(self._answers, process, log)

    def stop(self) -> None:
        """Shut the server down; the data stay, and ``start`` goes on with them."""
        if self._process is not None:
            _end(self._process, signal.SIGTERM)
            self._process = None

    def execute(self, statement: str, values: list[Any] | None = None, *, database: str | None = None) -> list[Any]:
        """The rows of one SQL statement, committed."""
        import pymysql

        with closing(
            pymysql.connect(host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True)
        ) as connection:
            cursor = connection.cursor()
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    @property
    def _options(self) -> list[str]:
        # A server that starts deletes the temporary tables in its folder for them, those of other servers included.
        user = _unprivileged("mysql").pw_name if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        return [
            "--no-defaults", f"--user={user}", f"--datadir={self._data}", "--innodb-log-file-size=4M",
            f"--innodb-buffer-pool-size={self._memory}", "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=OFF", f"--tmpdir={self._folder}",
        ]  # fmt: skip

    def _make(self) -> None:
        self._initialise()
        self.start()
        self._make_template()
        self.stop()

    def _initialise(self) -> None:
        ours = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        command = [_maria_program("mariadb-install-db"), *self._options, *ours]
        subprocess.run(command, check=True, timeout=DEADLINE_S, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _make_template(self) -> None:
        from mlflow import MlflowClient

        self.execute(f"CREATE DATABASE {self.TEMPLATE} CHARACTER SET utf8mb4")
        MlflowClient(self.uri).search_experiments()

    def _answers(self) -> bool:
        import pymysql

        with suppress(pymysql.err.OperationalError):
            return bool(self.execute("SELECT 1"))
        return False


class MlflowServer:
    """A real ``mlflow server`` with one worker, on a port that it keeps over restarts.

    It serves artifacts itself. Its jobs (schedulers and queues for evaluating traces, in processes of their own) are
    off: nothing here needs them, and they take longer to start than the server.

    Args:
        backend_uri: Where it keeps its runs.
        folder: Where it keeps the rest.
        program: The ``mlflow`` of another environment, of whatever version.
    """

    def __init__(self, backend_uri: str, folder: Path, program: Path | None = None) -> None:
        self._program = program or Path(sys.executable).with_name("mlflow")
        self.backend_uri = backend_uri
        self.artifacts = folder / "artifacts"
        self.log = folder / "server.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[Any] | None = None

    def __enter__(self) -> MlflowServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the server and wait until it answers, which takes some four seconds."""
        self._folder.mkdir(parents=True, exist_ok=True)
        options = {
            "--backend-store-uri": self.backend_uri,
            "--artifacts-destination": str(self.artifacts),
            "--host": "127.0.0.1",
            "--port": str(self.port),
            "--workers": "1",
        }
        command = [str(self._program), "server", *itertools.chain(*options.items())]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=_server_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            _wait_for(self._answers, self._process, self.log)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Let the server finish what it is at, and end."""
        if self._process is not None:
            self.resume()
            # The command passes the signal on to its worker, which takes a second one for "at once".
            _end(self._process, signal.SIGTERM)
            self.kill()

    def kill(self) -> None:
        """End the server and its worker in the middle of whatever they do (SIGKILL)."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait(timeout=DEADLINE_S)
            self._process = None
            _wait_until_closed(self.port)

    def restart(self) -> None:
        """Start again on the same port and data."""
        self.stop()
        self.start()

    def suspend(self) -> None:
        """Make the server hang: connections are accepted (by the kernel), and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended server go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _answers(self) -> bool:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
            try:
                connection.request("GET", "/health")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False


def copy_sqlite_store(template: Path, path: Path, artifacts: str) -> str:
    """The URI of a copy of an MLflow database, whose Default experiment keeps its artifacts at a given place."""
    shutil.copyfile(template, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = ?", [artifacts])
    return f"sqlite:///{path}"


def make_equal(path: Path, template: Path) -> None:
    """Give every table of an MLflow database the rows of another one, while a server has it open."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=DEADLINE_S)) as connection:
        connection.execute("ATTACH ? AS template", [str(template)])
        connection.execute("BEGIN IMMEDIATE")
        query = "SELECT name FROM template.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        for (table,) in connection.execute(query).fetchall():
            # Generated columns are not in table_info, and can't be inserted.
            columns = ", ".join(f'"{row[1]}"' for row in connection.execute(f'PRAGMA main.table_info("{table}")'))
            connection.execute(f'DELETE FROM main."{table}"')
            connection.execute(f'INSERT INTO main."{table}" ({columns}) SELECT {columns} FROM template."{table}"')
        connection.execute("COMMIT")


def why_no_postgres() -> str | None:
    """What is missing to start PostgreSQL here; None when nothing is."""
    try:
        _postgres_programs()
    except FileNotFoundError as error:
        return str(error)
    if find_spec("psycopg") is None:
        return 'PostgreSQL\'s driver is not installed: pip install "psycopg[binary]"'
    return None


def why_no_mariadb() -> str | None:
    """What is missing to start MariaDB here; None when nothing is."""
    try:
        _maria_program("mariadbd")
    except FileNotFoundError as error:
        return str(error)
    if find_spec("pymysql") is None:
        return "MariaDB's driver is not installed: pip install pymysql"
    return None


def fail_or_skip(reason: str) -> NoReturn:
    """Skip a test that the machine can't run; in CI, where nothing may be skipped unseen, fail it."""
    if os.environ.get("CI") or os.environ.get("AGENTNN_REQUIRE_POSTGRES"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def end_senders(state: Path, patience_s: float = 5.0) -> None:
    """End the sender processes that the stores of a state folder name; it costs nothing when there are none."""
    pids = [pid for path in state.glob("*/sender.json") if (pid := _pid_in(path)) and _is_sender(pid)]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + patience_s
        while pids and time.monotonic() < deadline:
            pids = [pid for pid in pids if _is_sender(pid)]
            time.sleep(0.01)
        if not pids:
            return


def free_port() -> int:
    """A TCP port that nobody uses, and that the kernel gives to no outgoing connection while a server restarts."""
    while True:
        port = random.randrange(20_000, 32_000)
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _postgres_programs() -> Path:
    """The folder of PostgreSQL's programs: the newest of Debian's, which are not on the PATH, or what is on it."""
    debian = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb") if path.parts[-3].isdigit()]
    if debian:
        return max(debian, key=lambda path: int(path.parent.name))
    found = shutil.which("initdb")
    if found is None:
        raise FileNotFoundError("PostgreSQL's programs are not installed: apt-get install postgresql")
    return Path(found).resolve().parent


def _maria_program(name: str) -> str:
    """The path of one of MariaDB's programs; its server is not on every PATH."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        raise FileNotFoundError("MariaDB's programs are not installed: apt-get install mariadb-server")
    return found


def _unprivileged(name: str = "postgres") -> pwd.struct_passwd:
    """Whom a database server runs as when the tests run as root."""
    known = {user.pw_name: user for user in pwd.getpwall()}
    return known.get(name) or known["nobody"]


def _server_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    ours = {
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return {**kept, **ours}


def _wait_for(answers: Callable[[], bool], process: subprocess.Popen[Any], log: Path) -> None:
    """Wait until a server answers; one that ends or says nothing fails the test with what it wrote."""
    deadline = time.monotonic() + DEADLINE_S
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            written = log.read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"the server did not start (exit code {process.returncode}):\n{written[-4000:]}")
        time.sleep(0.02)


def _wait_until_closed(port: int) -> None:
    """Wait until nobody listens: a killed process gives up its port a little after it is gone."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        time.sleep(0.01)
    raise RuntimeError(f"something still listens on port {port}")


def _end(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    """Ask a process to end, and make it after ten seconds."""
    process.send_signal(number)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=DEADLINE_S)


def _pid_in(path: Path) -> int | None:
    """The process that a status file names; None when the file is damaged."""
    try:
        pid = json.loads(path.read_text(encoding="utf-8"))["pid"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if isinstance(pid, int) and pid > 0 else None


def _is_sender(pid: int) -> bool:
    """Whether a process lives and is a sender; a dead one that waits for its parent has no command line."""
    try:
        return b"agentnn.tracking.sending.sender" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
