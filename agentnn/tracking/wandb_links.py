"""Where a run is seen on the dashboard of Weights & Biases, without asking it and without importing it."""

from __future__ import annotations

import os
from urllib.parse import quote

_PUBLIC = "https://wandb.ai"


def dashboard_url(entity: str | None, project: str | None, run_id: str | None) -> str:
    """The address of a run, such as ``https://wandb.ai/ENTITY/PROJECT/runs/ID``; empty when a part is unknown.

    A server of one's own is found as wandb finds it: ``WANDB_APP_URL``, else ``WANDB_BASE_URL``, whose host loses its
    ``api.``.
    """
    if not (entity and project and run_id):
        return ""
    return f"{_dashboard()}/{quote(entity, safe='')}/{quote(project, safe='')}/runs/{quote(run_id, safe='')}"


def _dashboard() -> str:
    base = os.environ.get("WANDB_BASE_URL", "").replace("://api.wandb.", "://wandb.").replace("://api.", "://app.")
    return (os.environ.get("WANDB_APP_URL") or base or _PUBLIC).rstrip("/")
