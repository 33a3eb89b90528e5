"""What an answer is that is not the answer: each kind said for what it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, StoreUnavailable, UsageError
from agentnn.settings import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that may be another one a moment later."""

_BEHIND_A_PROXY = (502, 503, 504)
_LONGEST = 300


class NoSuchEndpoint(StoreUnavailable):
    """The server does not know what it was asked for: it is older than the question, or no MLflow server."""


class SentAway(StoreUnavailable):
    """The server sends us to another address, and nobody went there."""


class NotAllowed(StoreUnavailable):
    """The server knows who asks, and does not let them do this."""


def parsed(status: int, headers: Mapping[str, str], body: bytes, where: str, secrets: Iterable[str]) -> dict[str, Any]:
    """The answer of an MLflow server.

    Args:
        status, headers, body: What came.
        where: What was asked for, for a person.
        secrets: What must not be shown.

    Raises:
        NotFoundError, UsageError, ConflictError: MLflow refuses what was asked for, in its own words.
        StoreUnavailable: It is no answer of an MLflow server, or says that there is none now.
    """
    said = _json(body)
    if 200 <= status < 300 and isinstance(said, dict):
        return said
    raise refusal(status, headers, body, where, secrets)


def refusal(status: int, headers: Mapping[str, str], body: bytes, where: str, secrets: Iterable[str]) -> AgentNNError:
    """The error that an answer stands for; see :func:`parsed`."""
    said = _json(body)
    if isinstance(said, dict) and "error_code" in said and status not in (401, 403):
        return _mlflows(status, said, where, secrets)
    if 300 <= status < 400:
        return _sent_away(headers.get("location", ""), where)
    if status in (401, 403):
        return _not_let_in(status, said, secrets)
    if status in _BEHIND_A_PROXY:
        return StoreUnavailable(
            f"the store does not answer: what stands before it says {_named(status)} to {where}",
            hint="check that the MLflow server runs behind it; try again",
        )
    if status == 413:
        return UsageError(
            f"the server takes nothing so large: {_named(status)} to {where}",
            hint="raise the limit of what stands before it: client_max_body_size is nginx's",
        )
    if status == 429:
        return StoreUnavailable(f"the store has had too many requests: {_named(status)}", hint="try again later")
    if _is_page(headers, body):
        return _web_page(status, where)
    if status in (404, 405):
        return NoSuchEndpoint(
            f"there is no {where} ({_named(status)}): it is not an MLflow server, or one too old for this",
            hint="check the tracking URI, a path in it included",
        )
    if 200 <= status < 300:
        return StoreUnavailable(
            f"the answer to {where} is no JSON: it is not an MLflow server, or something between cuts its answers",
            hint="check the tracking URI",
        )
    return StoreUnavailable(f"the store failed: {_named(status)} to {where}", hint="look at the server's log")


def _mlflows(status: int, said: Mapping[str, Any], where: str, secrets: Iterable[str]) -> AgentNNError:
    from agentnn.stores.mlflow.calls import kind_of_refusal, reason_in  # errors are rare

    code = str(said["error_code"])
    text = str(said.get("message") or code)
    kind, message = kind_of_refusal(code, text), redact(reason_in(text), secrets)[:_LONGEST]
    if code == "ENDPOINT_NOT_FOUND" or (status == 405):
        return NoSuchEndpoint(f"the server knows no {where}: it is too old for this", hint="update the MLflow server")
    if kind is StoreUnavailable:
        return StoreUnavailable(f"the store refused: {message}", hint="look at the server's log")
    return kind(message)


def _sent_away(location: str, where: str) -> SentAway:
    target = redact(location.partition("?")[0])[:_LONGEST]
    words = target.lower()
    if any(word in words for word in ("login", "signin", "sign-in", "sign_in", "auth", "sso", "saml")):
        return SentAway(
            f"the server wants us to sign in first: it sends us to {target}",
            hint="set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    return SentAway(
        f"the server sends us from {where} to {target or 'another address'}, and is not followed",
        hint="if that is where it is now, use the address as --tracking-uri",
    )


def _not_let_in(status: int, said: Any, secrets: Iterable[str]) -> StoreUnavailable:
    message = _short(str(said["message"]), secrets) if isinstance(said, dict) and said.get("message") else ""
    why = f" ({message})" if message else ""
    if status == 401:
        return StoreUnavailable(
            f"the server does not know who asks: {_named(status)}{why}",
            hint="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    return NotAllowed(
        f"the server does not let us do this: {_named(status)}{why}", hint="ask its owner for the permission"
    )


def _web_page(status: int, where: str) -> StoreUnavailable:
    if status in (404, 405):
        return NoSuchEndpoint(
            f"there is no {where} ({_named(status)}): it is not an MLflow server, or one too old for this",
            hint="check the tracking URI, a path in it included",
        )
    return StoreUnavailable(
        f"a web page answers ({_named(status)}): it is not an MLflow server, or something wants us to sign in first",
        hint="open the address in a browser; check the tracking URI and the credentials",
    )


def _is_page(headers: Mapping[str, str], body: bytes) -> bool:
    return "html" in headers.get("content-type", "").lower() or body.lstrip()[:1] == b"<"


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _named(status: int) -> str:
    from http import HTTPStatus  # errors are rare

    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _short(text: str, secrets: Iterable[str]) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return redact(lines[0] if lines else "unknown error", secrets)[:_LONGEST]
