"""Which database on which server a URI names, as SQLAlchemy reads it.

https://docs.sqlalchemy.org/en/20/core/engines.html#database-urls
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs, unquote

from agentnn.errors import UsageError
from agentnn.settings import redact

Kind = Literal["postgresql", "mysql"]

_DRIVERS: dict[str, Kind] = {
    "postgresql": "postgresql",
    "postgresql+psycopg": "postgresql",
    "postgresql+psycopg2": "postgresql",
    "mysql": "mysql",
    "mysql+pymysql": "mysql",
}
"""What MLflow's documentation calls its databases; whoever names another driver has a reason, and gets it."""

_SECRETS = ("password", "passwd", "sslpassword", "ssl_key_password")
"""Options that hold one."""

_URI = re.compile(
    r"""(?P<scheme>[\w+]+)://
    (?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?
    (?:\[(?P<bracketed>[^/?\]]+)\]|(?P<host>[^/:?]+))?(?::(?P<port>[^/?]*))?
    (?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Address:
    """A database on a server.

    Attributes:
        kind: Whose server it is.
        uri: The URI without its password, to be shown.
        host, port, database, user, password: ``None`` where the URI does not say.
        query: The URI's options, each with all its values.
    """

    kind: Kind
    uri: str
    host: str | None
    port: int | None
    database: str | None
    user: str | None
    password: str | None = field(default=None, repr=False)
    query: dict[str, list[str]] = field(default_factory=dict, repr=False)

    @property
    def secrets(self) -> list[str]:
        """What must never be shown."""
        return [one for one in (self.password, *(self.query.get(name, [""])[-1] for name in _SECRETS)) if one]

    @property
    def server(self) -> str:
        """The server as a person names it."""
        host = self.query.get("host", [self.host or ""])[0] or "this machine"
        return f"{host}:{self.port}" if self.port is not None else host


def server_kind(uri: str) -> Kind | None:
    """Whose server a URI names; ``None`` when it is none that is read here."""
    return _DRIVERS.get(uri.partition("://")[0].lower())


def parse_address(uri: str) -> Address:
    """Take apart a URI that names a server.

    Raises:
        UsageError: It can't be read.
    """
    kind, found = server_kind(uri), _URI.fullmatch(uri)
    port = (found["port"] or "") if found else ""
    if kind is None or found is None or (port and not port.isdecimal()):
        raise UsageError(
            f"the tracking URI {redact(uri)!r} can't be read",
            hint="as in postgresql://user@host:5432/mlflow, with special characters of a password as %40",
        )
    host, database, user, password = (
        unquote(text) if text else None
        for text in (found["bracketed"] or found["host"], found["database"], found["user"], found["password"])
    )
    query = parse_qs(found["query"] or "", keep_blank_values=True)
    return Address(kind, redact(uri), host, int(port) if port else None, database, user, password, query)
