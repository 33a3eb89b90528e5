"""What users log, made into what MLflow keeps, once and on input; nothing that the caller holds is ever changed."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError
from agentnn.values.plain import as_number, json_value

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST_STEP = 2**63


def metric_value(key: str, value: Any) -> float:
    """A metric's value as a float; NaN and infinity are kept.

    Args:
        key: The metric, for the message.
        value: A number, a bool, a Decimal, a NumPy scalar, or a tensor or array of one element.

    Raises:
        UsageError: It is not one number.
    """
    number = _item(value)
    if not isinstance(number, (str, bytes, complex)):
        try:
            return float(number)
        except (TypeError, ValueError, OverflowError):
            pass
    raise UsageError(
        f"the metric {key!r} is {_shown(value)}, not a number", hint="log text as a param or a tag"
    ) from None


def step_number(step: Any) -> int:
    """A step as an int; 0 for ``None``, as in MLflow.

    Raises:
        UsageError: It is not a whole number of 64 bits.
    """
    if step is None:
        return 0
    try:
        number = operator.index(_item(step))
    except TypeError:
        raise UsageError(f"the step {_shown(step)} is not a whole number", hint="count batches or epochs") from None
    if not -_LARGEST_STEP <= number < _LARGEST_STEP:
        raise UsageError(f"the step {number} does not fit into 64 bits", hint="count batches or epochs")
    return number


def param_text(value: Any) -> str:
    """A param or a tag as text: containers as JSON, everything else as Python prints it."""
    plain = value.item() if getattr(value, "ndim", None) == 0 else value
    if isinstance(plain, (set, frozenset)):
        plain = sorted(plain, key=repr)
    if isinstance(plain, (list, tuple, Mapping)) or hasattr(plain, "tolist"):
        return json.dumps(json_value(plain), ensure_ascii=False)
    return str(plain)


def flatten(params: Mapping[str, Any]) -> dict[str, str]:
    """Nested params as flat text: keys joined with dots, lists as JSON, everything else as Python prints it.

    Raises:
        UsageError: Two params would get the same name, as ``{"a": {"b": 1}, "a.b": 2}`` would.
    """
    flat: dict[str, str] = {}
    for key, value in _leaves(params, ""):
        if key in flat:
            raise UsageError(f"two params are called {key!r} once nested keys are joined", hint="rename one of them")
        flat[key] = param_text(value)
    return flat


def flatten_numbers(results: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among nested results, their keys joined with dots; everything else is left out."""
    numbers = ((key, as_number(value)) for key, value in _leaves(results, ""))
    return {key: number for key, number in numbers if number is not None}


def json_text(value: Any) -> str:
    """Any value as readable JSON; see :func:`~agentnn.values.plain.json_value`."""
    return json.dumps(json_value(value), indent=2, ensure_ascii=False) + "\n"


def _leaves(params: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _item(value: Any) -> Any:
    """The Python scalar in a NumPy scalar or in a tensor or array of one element; anything else as it is."""
    size = getattr(value, "size", None)
    if hasattr(value, "item") and (getattr(value, "numel", lambda: size)() == 1):
        return value.item()
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
