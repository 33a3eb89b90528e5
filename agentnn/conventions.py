"""What a project's metrics mean: which direction is better, in which unit, by which convention.

A project says so in an optional table, ``[tool.agentnn.metrics]`` of ``pyproject.toml`` or ``[metrics]`` of
``agentnn.toml``, looked for in the working directory and the folders above it, as the ``.env`` is::

    [tool.agentnn.metrics]
    sharpe_ratio = "max"
    "*_loss" = "min"
    max_drawdown = { direction = "max", unit = "fraction", digits = 4, convention = "0 or negative" }

A key is a metric's name, or a pattern with ``*``, ``?`` and ``[…]`` (:mod:`fnmatch`); a name goes before a pattern,
and among patterns the first that fits counts.
"""

from __future__ import annotations

import re
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from agentnn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

Direction = Literal["max", "min"]
DIRECTIONS: tuple[Direction, ...] = ("max", "min")

_SMALLER_IS_USUALLY_BETTER = ("loss", "drawdown", "mse", "mae", "mape")
_ERROR = r"err(?:or)?(?![a-z])"
_FILES = (("agentnn.toml", ("metrics",)), ("pyproject.toml", ("tool", "agentnn", "metrics")))


class MetricConvention(NamedTuple):
    """What is declared of a metric.

    Attributes:
        direction: ``max`` when the greater value is better, ``min`` when the smaller is; ``None`` when nothing is said.
        unit: What it is measured in.
        digits: How many decimal places a person is shown.
        convention: By which formula or convention it is computed, in words.
    """

    direction: Direction | None = None
    unit: str = ""
    digits: int | None = None
    convention: str = ""


UNDECLARED = MetricConvention()


class MetricConventions(NamedTuple):
    """The table of a project.

    Attributes:
        declared: Conventions by a metric's name or pattern, in the file's order.
        source: The file; ``None`` when there is none.
    """

    declared: Mapping[str, MetricConvention]
    source: Path | None = None

    def of(self, metric: str) -> MetricConvention:
        """What is declared of a metric; nothing, by default."""
        exact = self.declared.get(metric)
        if exact is not None:
            return exact
        return next((said for name, said in self.declared.items() if fnmatchcase(metric, name)), UNDECLARED)

    def direction(self, metric: str) -> Direction | None:
        """Which direction is declared to be better; ``None`` when nothing is said."""
        return self.of(metric).direction


def sounds_like_less_is_better(metric: str) -> bool:
    """Whether a metric's name says loss, error or drawdown."""
    name = metric.lower()
    return any(word in name for word in _SMALLER_IS_USUALLY_BETTER) or ("err" in name and bool(re.search(_ERROR, name)))


def load_conventions(directory: Path | None = None) -> MetricConventions:
    """The conventions of the project that a directory belongs to; none where no file declares any.

    Args:
        directory: Where the search begins; the working directory by default.

    Raises:
        ConfigError: A file that names agentnn can't be read, or its table is wrong.
    """
    directory = Path.cwd() if directory is None else directory
    for folder in (directory, *directory.parents):
        for name, place in _FILES:
            table = _read_table(folder / name, place)
            if table is not None:
                return MetricConventions(_read_conventions(table, folder / name, place), folder / name)
    return MetricConventions({})


def _read_table(file: Path, place: tuple[str, ...]) -> Mapping[str, Any] | None:
    data = b""
    with suppress(OSError):  # not there, or not for us
        data = file.read_bytes()
    if b"metrics" not in data or (file.name == "pyproject.toml" and b"tool.agentnn" not in data):
        return None
    import tomllib  # most projects have nothing to read

    try:
        found: Any = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} is not TOML: {error}", hint="mend the file; it declares what metrics mean"
        ) from error
    for key in place:
        found = found.get(key) if isinstance(found, dict) else None
    if found is not None and not isinstance(found, dict):
        raise ConfigError(f"{file}: {'.'.join(place)} is not a table", hint=f'[{".".join(place)}]\nval_loss = "min"')
    return found


def _read_conventions(table: Mapping[str, Any], file: Path, place: tuple[str, ...]) -> dict[str, MetricConvention]:
    return {name: _read_convention(said, f"{file}: {'.'.join(place)}.{name}") for name, said in table.items()}


def _read_convention(said: Any, where: str) -> MetricConvention:
    fields = {"direction": said} if isinstance(said, str) else said
    if not isinstance(fields, dict):
        raise ConfigError(f"{where} is {said!r}, not a direction or a table", hint='"max", "min" or { direction = … }')
    for key, value in fields.items():
        if key not in MetricConvention._fields:
            raise ConfigError(f"{where}.{key}: unknown key", hint=f"one of {', '.join(MetricConvention._fields)}")
        if not _fits(key, value):
            raise ConfigError(f"{where}.{key} is {value!r}", hint=_EXPECTED[key])
    return MetricConvention(**fields)


_EXPECTED = {
    "direction": 'write "max" or "min"',
    "unit": "write text",
    "digits": "write a whole number, 0 or more",
    "convention": "write text",
}


def _fits(key: str, value: Any) -> bool:
    if key == "direction":
        return value in DIRECTIONS
    if key == "digits":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, str)
