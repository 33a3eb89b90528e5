"""Every error that agentnn raises on purpose, with its exit code.

::

    AgentNNError                          what went wrong, and a hint: what to do next
    ├── CheckFailed                    1  a check that was asked for did not hold
    ├── UsageError(ValueError)         2  the request itself is wrong
    │   ├── ConfigError                   a configuration file or value
    │   ├── FilterError                   a filter expression; points at the character
    │   └── NotAStoreError                a file or database that is not an MLflow store
    ├── NotFoundError(LookupError)     3  what was named is not there, or is ambiguous
    ├── StoreUnavailable(ConnectionError)  4  unreachable, locked past the deadline, refused
    ├── CorruptDataError               5  data is damaged or only partly readable
    ├── ConflictError                  6  a changed param, a finished run, a name that is taken
    ├── UnsafeError                    7  refused as unsafe; ``trust`` where a user may decide
    ├── TrainingError                  8  training, a trial or a replay failed
    └── MissingDependencyError(ImportError)  9  the hint is the command that installs it

The command line prints ``error: <message>``, then ``hint: <hint>``, and exits with ``exit_code``.
"""

from __future__ import annotations


class AgentNNError(Exception):
    """The base of every error that agentnn raises on purpose.

    Args:
        message: What is wrong and where, in one line.
        hint: What to do next, in one line; empty when there is nothing to say.
    """

    exit_code = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class CheckFailed(AgentNNError):
    """A check that was asked for did not hold."""

    exit_code = 1


class UsageError(AgentNNError, ValueError):
    """The request itself is wrong: an option, an argument, a value."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file or value is wrong.

    Args:
        message: What is wrong.
        problems: Everything that is wrong with a file, a line each: ``file.yaml:12: training.lr: unknown key``.
        hint: What to do next.
    """

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join((self.message, *self.problems))


class FilterError(UsageError):
    """A filter expression is wrong.

    Args:
        message: What is wrong.
        text: The whole expression.
        position: Index of the first wrong character in ``text``.
        hint: What to do next.
    """

    def __init__(self, message: str, *, text: str = "", position: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.text = text
        self.position = position


class NotAStoreError(UsageError):
    """A file or a database that is not an MLflow store."""


class NotFoundError(AgentNNError, LookupError):
    """What was named is not there, or the name is ambiguous.

    Args:
        message: What was looked for, and where.
        candidates: Names that come close, or the things that an ambiguous name could mean.
        hint: What to do next.
    """

    exit_code = 3

    def __init__(self, message: str, *, candidates: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.candidates = candidates


class StoreUnavailable(AgentNNError, ConnectionError):
    """The store can't be reached, is locked past the deadline, or refused the request."""

    exit_code = 4


class CorruptDataError(AgentNNError):
    """Data is damaged, or can be read only in part."""

    exit_code = 5


class ConflictError(AgentNNError):
    """What was asked for contradicts what the store holds."""

    exit_code = 6


class UnsafeError(AgentNNError):
    """Refused as unsafe."""

    exit_code = 7


class TrainingError(AgentNNError):
    """Training, a trial or a replay failed."""

    exit_code = 8


class MissingDependencyError(AgentNNError, ImportError):
    """A package that is needed here is not installed; the hint is the command that installs it."""

    exit_code = 9


class AgentNNWarning(UserWarning):
    """Something that the user should know of, though the answer stands; the command line prints it as a note."""


class UnreadableWarning(AgentNNWarning):
    """Something in a store can't be read, and the answer leaves it out; ``agentnn --strict`` makes it exit code 5."""


def command(*words: str) -> str:
    """A command for a hint, as it is typed in a shell: ``agentnn model versions 'price net'``."""
    from shlex import join  # hints are rare

    return join(("agentnn", *words))
