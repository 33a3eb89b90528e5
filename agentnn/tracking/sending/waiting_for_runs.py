"""Waiting for the delivery of many runs at once, by whoever looks after all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.tracking.sending.delivered import Delivered
from agentnn.tracking.sending.sender_control import ensure_sender, sender_status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentnn.settings import Settings
    from agentnn.tracking.journal.state import StoreFolder

TIMEOUT_S = 600.0
"""How long one run is waited for while the sender makes its way."""

DOWN_TIMEOUT_S = 2.0
"""How long one is waited for while the store can't be used; then the others aren't."""


def wait_for_runs(store: StoreFolder, settings: Settings, uuids: Iterable[str]) -> bool:
    """Wait until everything that runs of a store have logged is delivered.

    Args:
        store: The store's folder.
        settings: Name the store.
        uuids: Our own ids of the runs. One that is not on this machine, or delivered long ago, is no reason to wait.

    Returns:
        Whether it is; False as soon as the store can't be used.
    """
    ensure_sender(store, settings)
    done = True
    for uuid in uuids:
        here = Delivered(store.run(uuid)).wait(TIMEOUT_S, DOWN_TIMEOUT_S)
        if not here and sender_status(store).is_unavailable:
            return False
        done = done and here
    return done
