"""How several processes train one network, beyond what a single one is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from agentnn.config.schema import Config

Strategy = Literal["ddp", "fsdp"]
Backend = Literal["auto", "gloo", "nccl"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributedOptions:
    """How several processes train one network.

    Attributes:
        strategy: ``ddp`` keeps the whole network in every process, ``fsdp`` a part of it.
        backend: What the processes talk by: ``nccl`` between CUDA devices, ``gloo`` between CPUs; ``auto`` is what
            suits the device.
        timeout_s: How long a process waits for the others before it says that one is lost. Checkpoints are written,
            values logged and callbacks called meanwhile, so that they have to take less.
        keep_checkpoints: How many of the last checkpoints stay.

    Raises:
        UsageError: A value is out of range.
    """

    strategy: Strategy = "ddp"
    backend: Backend = "auto"
    timeout_s: float = 120.0
    keep_checkpoints: int = 3

    def __post_init__(self) -> None:
        for name, known in (("strategy", Strategy), ("backend", Backend)):
            if getattr(self, name) not in get_args(known):
                raise UsageError(f"unknown {name} {getattr(self, name)!r}", hint=f"one of {', '.join(get_args(known))}")
        if not self.timeout_s > 0:
            raise UsageError(f"timeout_s must be greater than 0, not {self.timeout_s!r}")
        if type(self.keep_checkpoints) is not int or self.keep_checkpoints < 1:
            raise UsageError(f"keep_checkpoints must be a whole number of at least 1, not {self.keep_checkpoints!r}")

    @classmethod
    def from_config(cls, config: Config) -> DistributedOptions:
        """What the section ``distributed`` of a configuration says."""
        section = config.distributed
        assert section is not None
        return cls(
            strategy=section.strategy,
            backend=section.backend,
            timeout_s=section.timeout_s,
            keep_checkpoints=section.keep_checkpoints,
        )
