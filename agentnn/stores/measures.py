"""What a store tells of itself: what it is, how large, and what would make it faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from agentnn.stores.base import TrackingStore
    from agentnn.stores.history_cache import CacheFacts


SERVER, FOLDER = "MLflow server, over REST", "mlruns folder, read directly"
TOML, CLIENT = "TOML files, through an index", "MLflow's client"
"""What stores are read by, as ``run doctor`` and ``--explain`` call it."""


def tables_of(product: str) -> str:
    """What tables of a database are read by."""
    return f"{product} tables, read directly"


class Advice(NamedTuple):
    """What would make a store faster; nobody but the user does it.

    Attributes:
        topic: ``statistics``, ``index`` or ``migrate``.
        problem: What is slow, and why.
        command: The command that mends it, as it is to be typed.
    """

    topic: str
    problem: str
    command: str


class StoreMeasures(NamedTuple):
    """A store's own figures; ``None`` for what it can't say, or not soon.

    Attributes:
        reader: How it is read here, such as ``SQLite tables, read directly``.
        software: What answers, with its version, such as ``SQLite 3.40.1``.
        schema: The revision of MLflow's schema.
        experiments: How many there are, deleted ones included.
        runs: How many there are, deleted ones included.
        size_bytes: What its data take.
        indexes: The indexes that agentnn advised and the store has; ``None`` where none could be.
        analysed: Whether the database has statistics by which to plan.
        cache: What is kept on this machine of the histories in the store; ``None`` where nothing ever is.
        advice: What would make it faster.
    """

    reader: str
    software: str | None = None
    schema: str | None = None
    experiments: int | None = None
    runs: int | None = None
    size_bytes: int | None = None
    indexes: tuple[str, ...] | None = None
    analysed: bool | None = None
    cache: CacheFacts | None = None
    advice: tuple[Advice, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        cache = None if self.cache is None else self.cache._asdict()
        return {**self._asdict(), "cache": cache, "advice": [one._asdict() for one in self.advice]}


@runtime_checkable
class MeasuresItself(Protocol):
    """A store that knows its own figures."""

    def measure(self) -> StoreMeasures:
        """What the store is and how large; it changes nothing.

        Raises:
            StoreUnavailable, CorruptDataError: The store can't be read.
        """


def measure(store: TrackingStore) -> StoreMeasures:
    """What a store tells of itself."""
    return store.measure() if isinstance(store, MeasuresItself) else StoreMeasures(CLIENT)
