"""What of a run may stand in a report that is sent to others: no password, no token, no key.

It reuses what keeps secrets out of a run in the first place; runs of other tools, and of before, may hold some.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentnn.config.secrecy import MASK, sounds_secret
from agentnn.query.expressions import to_number
from agentnn.tracking.capture.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.records import Run
    from agentnn.settings import Settings

_SHORTEST = 6
"""A number of fewer characters under a secret-sounding name is shown, such as ``max_token: 512``."""

_PLAIN = ("", "true", "false", "none", "null")


class Discretion:
    """Strikes secrets out of whatever a report shows.

    Args:
        settings: Hold the store's own credentials.
        environ: Whose secret-sounding variables must not be seen; that of the process by default.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        secrets = {name: value for name, value in environ.items() if sounds_secret(name)}
        self._redactor = Redactor(secrets, tuple(settings.secrets.values()))
        self._known: dict[str, str] = {}

    def text(self, text: str) -> str:
        """A name, a value or an address."""
        if to_number(text) is not None:
            return text
        if text not in self._known:
            self._known[text] = self._redactor.known(text)
        return self._known[text]

    def lines(self, text: str) -> str:
        """Text of many lines, such as a file."""
        return self._redactor.text(text)

    def value(self, key: str, text: str) -> str:
        """A value by its name: one that is named like a secret is not shown."""
        if any(sounds_secret(part) for part in key.replace("/", ".").split(".")) and not _is_harmless(text):
            return MASK
        return self.text(text)

    def plain(self, value: Any, key: str = "") -> Any:
        """What JSON holds."""
        if isinstance(value, str):
            return self.value(key, value)
        if isinstance(value, dict):
            return {self.text(str(name)): self.plain(one, str(name)) for name, one in value.items()}
        if isinstance(value, list):
            return [self.plain(one, key) for one in value]
        return value

    def run(self, run: Run) -> Run:
        """A run as it may be shown."""
        return replace(
            run,
            name=self.text(run.name),
            experiment=self.text(run.experiment),
            user=None if run.user is None else self.text(run.user),
            artifact_uri=None if run.artifact_uri is None else self.text(run.artifact_uri),
            metrics={self.text(key): value for key, value in run.metrics.items()},
            params={self.text(key): self.value(key, value) for key, value in run.params.items()},
            tags={self.text(key): self.value(key, value) for key, value in run.tags.items()},
        )


def _is_harmless(text: str) -> bool:
    return text.strip().lower() in _PLAIN or (to_number(text) is not None and len(text.strip()) < _SHORTEST)
