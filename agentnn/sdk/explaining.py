"""Looking on while a manager's store and registry answer; see ``ModelManager.explain``."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from agentnn.query.explanation import Explanation
from agentnn.stores.explained.asking import Explained, ExplainedRegistry, ExplainedStore
from agentnn.stores.opening import open_registry, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.settings import Settings


@contextmanager
def explaining(settings: Settings, opened: dict[str, Any]) -> Iterator[Explanation]:
    """Put an explained store and registry in the place of the manager's own, for as long as the block lasts.

    Args:
        settings: Name them.
        opened: What the manager has opened, by the names ``_store`` and ``_registry``.

    Yields:
        The explanation, which grows.
    """
    explanation = Explanation(settings.tracking_uri, settings.secrets.values())
    before = {name: opened.get(name) for name in ("_store", "_registry")}
    store = ExplainedStore(partial(open_store, settings), before["_store"], explanation)
    registry = ExplainedRegistry(partial(open_registry, settings), before["_registry"], explanation)
    opened.update(_store=store, _registry=registry)
    try:
        yield explanation
    finally:
        explanation.end()
        for name in before:
            now = opened.pop(name, None)  # another one, or none, where the manager was closed meanwhile
            itself = now.itself() if isinstance(now, Explained) else now
            if itself is not None:
                opened[name] = itself
        if "_store" in opened:
            explanation.software = store.software()
