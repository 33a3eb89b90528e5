"""What the schema is made of: sections, names to choose from, free-form mappings, scalars."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Section(BaseModel):
    """A mapping with known keys, read by attribute (``section.key``) or by item (``section["key"]``)."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=False, hide_input_in_errors=True
    )

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(key)
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in type(self).model_fields

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return iter(type(self).model_fields)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def keys(self) -> list[str]:
        """The names of the keys."""
        return list(self)

    def values(self) -> list[Any]:
        """The values, in the order of the keys."""
        return [self[key] for key in self]

    def items(self) -> list[tuple[str, Any]]:
        """Keys and values."""
        return [(key, self[key]) for key in self]

    def get(self, key: str, default: Any = None) -> Any:
        """A value, or ``default`` where there is no such key."""
        return getattr(self, key) if key in self else default

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, which the caller may change."""
        return {key: plain(value) for key, value in self.items()}


Mapping.register(Section)


class Values(dict[str, Any]):
    """A free-form mapping, whose keys can be read as attributes, too."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        super().__init__({key: _readable(value) for key, value in (values or {}).items()})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, handler.generate_schema(dict[str, Any]))


def _readable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Values(value)
    return [_readable(one) for one in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """A value of a configuration as plain dicts, lists and scalars."""
    if isinstance(value, Section):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value


class Choice:
    """Names to choose from, whatever their case and with or without ``_`` and ``-``; ``"adam"`` becomes ``"Adam"``.

    Used as ``Annotated[str, Choice("Adam", "SGD")]``.
    """

    def __init__(self, *names: str) -> None:
        self.names = names
        self._by_folded = {folded(name): name for name in names}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._chosen, handler(source))

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        spellings = "|".join(_any_case(name) for name in self.names)
        return {"anyOf": [{"enum": list(self.names)}, {"type": "string", "pattern": f"^(?:{spellings})$"}]}

    def _chosen(self, value: Any) -> str:
        if isinstance(value, str) and folded(value) in self._by_folded:
            return self._by_folded[folded(value)]
        raise PydanticCustomError(
            "choice", "expected {expected}", {"expected": self._expected(), "near": self._near(value)}
        )

    def _expected(self) -> str:
        return self.names[0] if len(self.names) == 1 else f"{', '.join(self.names[:-1])} or {self.names[-1]}"

    def _near(self, value: Any) -> str:
        near = (
            difflib.get_close_matches(folded(value), self._by_folded, n=1, cutoff=0.5) if isinstance(value, str) else []
        )
        return self._by_folded[near[0]] if near else ""


class Spelled:
    """Text of a certain form, which ``expected`` names; used as ``Annotated[str, Spelled(pattern, expected)]``."""

    def __init__(self, pattern: str, expected: str) -> None:
        self.pattern = pattern
        self.expected = expected

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}

    def _checked(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise PydanticCustomError("spelled", "expected {expected}", {"expected": self.expected})
        return value


def folded(name: str) -> str:
    """A name as :class:`Choice` compares it."""
    return name.replace("_", "").replace("-", "").casefold()


def _any_case(name: str) -> str:
    """A pattern of every spelling that :class:`Choice` takes, for a JSON Schema, whose patterns know no flags."""
    return "[_-]*".join(
        f"[{char.upper()}{char.lower()}]" if char.isalpha() else re.escape(char)
        for char in name.replace("_", "").replace("-", "")
    )


def _scalar(value: Any) -> Any:
    if not isinstance(value, (str, int, float)):
        raise PydanticCustomError("scalar", "expected text, a number, true or false", {})
    return value


def _number(value: Any) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise PydanticCustomError("number", "expected a number", {})
    return value


def _iso_date(value: str) -> str:
    try:
        date.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("iso_date", "expected a date such as 2024-01-31", {}) from None
    return value


Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]
"""Text, a number or a truth value, as it was written."""

Number = Annotated[int | float, BeforeValidator(_number)]
"""A whole number or another one, as it was written."""

IsoDate = Annotated[str, BeforeValidator(lambda value: _iso_date(value) if isinstance(value, str) else value)]
"""A day as text, ``2024-01-31``."""


def wrong(key: str, message: str) -> PydanticCustomError:
    """What a check of several keys of a section raises: ``message`` is told at one of them, ``model.family``."""
    return PydanticCustomError("section", "{message}", {"message": message, "key": key})
