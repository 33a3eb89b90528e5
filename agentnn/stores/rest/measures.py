"""What a server tells of itself: little; its database tells more to who can reach that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.errors import AgentNNError
from agentnn.stores.history_cache import cache_facts
from agentnn.stores.measures import SERVER, StoreMeasures

if TYPE_CHECKING:
    from agentnn.settings import Settings
    from agentnn.stores.rest.transport import Transport

_LONGEST_VERSION = 40


def measure_server(transport: Transport, settings: Settings) -> StoreMeasures:
    """What a server tells of itself, and what is kept here of its histories."""
    said = server_version(transport)
    return StoreMeasures(reader=SERVER, software=f"MLflow {said}" if said else None, cache=cache_facts(settings))


def server_version(transport: Transport) -> str | None:
    """The version of MLflow that a server says it is; ``None`` where it says none."""
    try:
        text = transport.open("/version", timeout_s=0).read().decode("ascii", "replace").strip()
    except (AgentNNError, OSError):
        return None
    return text if text[:1].isdigit() and len(text) <= _LONGEST_VERSION else None
