"""The border to MLflow: what it needs from the environment goes in, its exceptions come out as ours."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

from agentnn.errors import (
    AgentNNError,
    ConflictError,
    MissingDependencyError,
    NotFoundError,
    StoreUnavailable,
    UsageError,
)
from agentnn.settings import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.settings import Settings

TIMEOUT_S = 10
"""How long a request to a server may take, unless the user set MLFLOW_HTTP_REQUEST_TIMEOUT."""

_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_DEFAULTS = {_RETRIES: "2", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
"""Unless the user set them. MLflow's own seven retries keep a caller waiting for four minutes when a server is down."""

_one_at_a_time = RLock()

BY_CODE: dict[str, type[AgentNNError]] = {
    "RESOURCE_DOES_NOT_EXIST": NotFoundError,
    "NOT_FOUND": NotFoundError,
    "ENDPOINT_NOT_FOUND": StoreUnavailable,
    "INVALID_PARAMETER_VALUE": UsageError,
    "MALFORMED_REQUEST": UsageError,
    "RESOURCE_ALREADY_EXISTS": ConflictError,
    "RESOURCE_CONFLICT": ConflictError,
    "INVALID_STATE": ConflictError,
}
"""What MLflow's words for a refusal mean here; every other word is a store that can't be used now."""

_REFUSED_BY_THE_DATABASE = ("/gkpj)", "/9h9h)")
"""Ends of the addresses that SQLAlchemy puts into an IntegrityError and a DataError: these alone are about the data.
MLflow answers BAD_REQUEST to every error of its database that it does not know, a full pool of connections included."""

_NOT_THE_REASON = "(raised as a result of Query-invoked autoflush"
"""How SQLAlchemy begins the message of an error whose next line says what is wrong."""


@contextmanager
def mlflow_call(settings: Settings, *, read: bool = True, timeout_s: int = TIMEOUT_S) -> Iterator[None]:
    """Run calls to MLflow inside.

    MLflow takes credentials and time limits from the environment and nowhere else. They are put there for the
    duration of the call and taken away after it; what the user set stays as it is. Threads therefore take turns. A
    read may look into an ``mlruns`` folder without the opt-in that MLflow asks for, a write may not. A read is tried
    three times, a write once, whatever the user set: its reply may have been lost, and it would be done twice.

    Args:
        settings: Name the store.
        read: Whether nothing is written.
        timeout_s: How long a server may be silent, unless the user set it.

    Raises:
        AgentNNError: Whatever MLflow raised, as the class that carries the right exit code.
    """
    # MLflow looks models and artifacts up in the store of its global state, whatever store its client was made for.
    ours = {"MLFLOW_TRACKING_URI": settings.tracking_uri, "MLFLOW_REGISTRY_URI": settings.registry_uri}
    if settings.workspace != "default":
        ours["MLFLOW_WORKSPACE"] = settings.workspace
    defaults = {**_DEFAULTS, "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_s), **settings.credentials}
    if read:
        defaults["MLFLOW_ALLOW_FILE_STORE"] = "true"
    else:
        ours[_RETRIES] = "0"
    with _one_at_a_time:
        wanted = {**{key: value for key, value in defaults.items() if not os.environ.get(key)}, **ours}
        before = {key: os.environ.get(key) for key in wanted}
        os.environ.update(wanted)
        try:
            with _quiet(), _translated(settings, read):
                yield
        finally:
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's progress messages off the user's screen.

    ``mlflow.store.db.utils`` also logs a traceback, the password in its URI included, before it raises the same error.
    """
    levels = {"mlflow": logging.WARNING, "alembic": logging.WARNING, "mlflow.store.db.utils": logging.CRITICAL}
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _translated(settings: Settings, read: bool) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        raise _ours(error, settings, read) from error
    except OSError as error:
        if isinstance(error, AgentNNError):
            raise
        message = _first_line(str(error), settings)
        refusal = BY_CODE.get(_code_in_reply(error), StoreUnavailable)
        if refusal is not StoreUnavailable:
            raise refusal(message) from error
        raise StoreUnavailable(f"the store can't be used: {message}") from error
    except SQLAlchemyError as error:
        raise StoreUnavailable(f"the store refused: {_first_line(str(error), settings)}") from error
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{error.name} is not installed, and this needs it", hint=f"pip install {_driver(error.name)}"
        ) from error


def _ours(error: Exception, settings: Settings, read: bool) -> AgentNNError:
    message = _first_line(str(error), settings)
    if read and ("no such column" in message or "no such table" in message):
        return UsageError(f"the store's schema is not what the installed MLflow knows: {message}")
    if "out-of-date database schema" in message:
        return UsageError(
            message,
            hint="back it up, then: mlflow db upgrade <the store's URI>; where it is newer: pip install -U mlflow",
        )
    if "MLFLOW_ALLOW_FILE_STORE" in str(error):
        return UsageError(
            "MLflow writes to an mlruns folder only with MLFLOW_ALLOW_FILE_STORE=true",
            hint="set it, or move the runs to a database: mlflow migrate-filestore --help",
        )
    kind = _kind_of(error)
    if kind is StoreUnavailable:
        message = _without_python(message)
        return StoreUnavailable(
            f"the store does not answer: {message}", hint="check the tracking URI and that its server runs"
        )
    return kind(message)


def _kind_of(error: Exception) -> type[AgentNNError]:
    """A refusal of what was asked for, in MLflow's own words, or a store that can't be used now."""
    from mlflow.exceptions import MlflowException, RestException

    code = str(getattr(error, "error_code", ""))
    if code == "INTERNAL_ERROR" and isinstance(error.__context__, MlflowException):
        return _kind_of(error.__context__)  # MLflow's file store hides a refusal in a failure of its own
    if code != "BAD_REQUEST" and str(error).startswith("API request to ") and not isinstance(error, RestException):
        return StoreUnavailable  # the code was made of a status, which may be a proxy's: the body was no JSON
    return kind_of_refusal(code, str(error))


def kind_of_refusal(code: str, message: str) -> type[AgentNNError]:
    """What MLflow's word for a refusal, and what it says to it, mean here."""
    if code == "BAD_REQUEST":
        return UsageError if any(end in message for end in _REFUSED_BY_THE_DATABASE) else StoreUnavailable
    return BY_CODE.get(code, StoreUnavailable)


def reason_in(message: str) -> str:
    """The line of a message of MLflow's that says what is wrong."""
    lines = [line.strip() for line in message.splitlines() if line.strip() and not line.startswith(_NOT_THE_REASON)]
    return lines[0] if lines else "unknown error"


def _code_in_reply(error: OSError) -> str:
    """MLflow's word for why its server did not take a file; empty when the reply is not in MLflow's words."""
    response = getattr(error, "response", None)
    try:
        said = response.json() if response is not None else {}
    except ValueError:
        return ""
    return str(said.get("error_code")) if isinstance(said, dict) else ""


def _without_python(message: str) -> str:
    """A failed request as a person would put it: MLflow hands on the names of three Python objects."""
    head, found, tail = message.partition(" failed with exception ")
    if not found:
        return message
    known = ("Connection refused", "timed out", "Name or service not known", "Connection reset", "too many 5")
    return f"{head} failed: {next((one for one in known if one in tail), tail[:100])}"


def _first_line(text: str, settings: Settings) -> str:
    return redact(reason_in(text), settings.secrets.values())[:500]


def _driver(module: str | None) -> str:
    return {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}.get(
        module or "", module or "it"
    )
