"""The tags by which a study and its trials are known: the organizer sets them, a report reads them."""

from __future__ import annotations

ROLE_TAG = "agentnn.role"
"""``study`` or ``trial``."""

TRIAL_NUMBER_TAG = "agentnn.trial.number"
TRIAL_STATE_TAG = "agentnn.trial.state"
"""``complete``, ``pruned`` or ``failed``."""

RETRY_TAG = "agentnn.trial.retry_of"
"""The number of the trial that this one repeats, which was lost with its worker."""

RETRIED_TAG = "agentnn.trial.retried_as"
"""The number of the trial that repeats this one, which was lost."""

STUDY_NAME_TAG = "agentnn.study.name"
STUDY_STORAGE_TAG = "agentnn.study.storage"
"""The study's name in its storage, and where that is."""

BEST_TRIAL_TAG = "agentnn.study.best_trial"
BEST_RUN_TAG = "agentnn.study.best_run_id"
BEST_PARAMS_TAG = "agentnn.study.best_params"
OBJECTIVE_TAG = "agentnn.study.objective"
"""Direction and metric: ``min val_loss``."""
