"""Ids of very many runs in little memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEX = 32
_BYTES = _HEX // 2


class RunIds:
    """A list of ids that only grows: 16 bytes for an id as MLflow makes them, where a string takes 81.

    Other ids, of 32 characters or not, are kept as they are.
    """

    def __init__(self) -> None:
        self._packed = bytearray()
        self._odd: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._packed) // _BYTES

    def extend(self, run_ids: Sequence[str]) -> None:
        """Add ids at the end."""
        packed = _packed(run_ids)
        if packed is not None:
            self._packed += packed
            return
        for run_id in run_ids:
            one = _packed((run_id,))
            if one is None:
                self._odd[len(self)] = run_id
            self._packed += one or bytes(_BYTES)

    def chunks(self, size: int) -> Iterator[list[str]]:
        """The ids, ``size`` at a time."""
        for start in range(0, len(self), size):
            text = self._packed[start * _BYTES : (start + size) * _BYTES].hex()
            run_ids = [text[at : at + _HEX] for at in range(0, len(text), _HEX)]
            if self._odd:
                run_ids = [self._odd.get(start + place, run_id) for place, run_id in enumerate(run_ids)]
            yield run_ids

    def picked(self, places: Sequence[int]) -> list[str]:
        """The ids at some places, in the order of these."""
        return [
            self._odd[place] if place in self._odd else self._packed[place * _BYTES : (place + 1) * _BYTES].hex()
            for place in places
        ]


def _packed(run_ids: Sequence[str]) -> bytes | None:
    """Ids as bytes; ``None`` where one of them is not made of 32 digits such as ``0`` and ``f``."""
    text = "".join(run_ids)
    if any(len(one) != _HEX for one in run_ids):
        return None
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        return None
    return packed if packed.hex() == text else None  # blanks are skipped and capitals taken, which would change them
