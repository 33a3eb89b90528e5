"""Compare two things in one run: whole processes, or calls in this process. Standard library only.

The two are run in alternating order after a warm-up, since the speed of a shared machine drifts: a ratio
taken pair by pair holds where a single time does not. Every comparison prints a row of a Markdown table.
"""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

COLUMNS = ("question", "own", "peak", "peer", "wall", "peak", "ratio (quartiles)", "pairs", "goal")


class CommandFailed(RuntimeError):
    """A measured command ended with another code than 0, so that its time means nothing."""


@dataclass(frozen=True, slots=True)
class Command:
    """A process to run: its arguments, and where and with what environment it runs."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: seconds of wall time, and peak resident memory in MiB (None in process)."""

    wall: float
    peak: float | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """What a row should reach; each part may be left out.

    Attributes:
        at_least: The least ratio.
        at_most: The greatest ratio.
        peak_below: A limit for our peak, in MiB.
        over_below: A limit for the time that we take longer than the peer, in seconds.
        wall_below: A limit for the time that we take, in seconds.
    """

    at_least: float | None = None
    at_most: float | None = None
    peak_below: float | None = None
    over_below: float | None = None
    wall_below: float | None = None

    def verdict(self, ratio: float, over: float, peak: float | None, wall: float) -> str:
        """Say each part of the goal and whether it was reached."""
        parts = []
        if self.wall_below is not None:
            parts.append((f"< {self.wall_below:g} s", wall < self.wall_below))
        if self.over_below is not None:
            parts.append((f"< {self.over_below * 1000:.0f} ms over", over < self.over_below))
        if self.at_least is not None:
            parts.append((f"≥ {self.at_least:g}×", ratio >= self.at_least))
        if self.at_most is not None:
            parts.append((f"≤ {self.at_most:g}×", ratio <= self.at_most))
        if self.peak_below is not None and peak is not None:
            parts.append((f"< {self.peak_below:g} MiB", peak < self.peak_below))
        return ", ".join(f"{text} {'met' if met else 'MISSED'}" for text, met in parts)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Samples of two things, taken in pairs."""

    own: list[Sample]
    peer: list[Sample]

    def speedups(self) -> list[float]:
        """Peer's time over ours, pair by pair, sorted: how many times faster we are."""
        return sorted(peer.wall / own.wall for own, peer in zip(self.own, self.peer, strict=True))

    def overheads(self) -> list[float]:
        """Our time over the peer's, pair by pair, sorted: what a floor program is compared by."""
        return sorted(own.wall / peer.wall for own, peer in zip(self.own, self.peer, strict=True))

    def differences(self) -> list[float]:
        """Seconds that we take longer, pair by pair, sorted."""
        return sorted(own.wall - peer.wall for own, peer in zip(self.own, self.peer, strict=True))


# --- measuring ------------------------------------------------------------------------------------


def run_command(command: Command) -> Sample:
    """Run a command to its end and measure it.

    Raises:
        CommandFailed: It exited with another code than 0; the message ends with what it said.
    """
    with tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command.argv,
            env=dict(command.env),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            said = errors.read().decode(errors="replace")[-2000:]
            raise CommandFailed(f"exit code {process.returncode}: {' '.join(command.argv)}\n{said}")
    return Sample(wall, peak_of(usage.ru_maxrss))


def peak_of(kibibytes: int) -> float | None:
    """Give a child's peak in MiB, or None where it cannot be known.

    Linux counts the memory of the process that forked towards the child's peak, so that a figure is only good
    when it is above our own.
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes / 1024 if kibibytes > own else None


def run_call(call: Callable[[], object]) -> Sample:
    """Call once and measure the time; the garbage of the one before is cleared first."""
    gc.collect()
    began = time.perf_counter()
    call()
    return Sample(time.perf_counter() - began)


def alternate(own: Callable[[], Sample], peer: Callable[[], Sample], rounds: int, warmup: int) -> Comparison:
    """Take ``rounds`` pairs; each pair is in the other order than the one before."""
    for _ in range(warmup):
        own()
        peer()
    result = Comparison([], [])
    for turn in range(rounds):
        pair = [(own, result.own), (peer, result.peer)]
        for measure, samples in pair if turn % 2 == 0 else reversed(pair):
            samples.append(measure())
    return result


def compare_commands(
    labels: tuple[str, str, str],
    own: Command,
    peer: Command,
    *,
    rounds: int,
    warmup: int = 1,
    goal: Goal | None = None,
    floor: bool = False,
) -> Comparison:
    """Compare two commands as whole processes and print a row.

    Args:
        labels: The question, what we run, what the peer runs.
        own: Our command.
        peer: The command to compare with.
        rounds: How many pairs are measured.
        warmup: How many pairs are run before that.
        goal: What the ratio and our peak should be.
        floor: The peer is a floor: the ratio is ours over its, and the difference is printed too.
    """
    result = alternate(lambda: run_command(own), lambda: run_command(peer), rounds, warmup)
    print_row(labels, result, goal or Goal(), floor=floor)
    return result


def compare_calls(
    labels: tuple[str, str, str],
    own: Callable[[], object],
    peer: Callable[[], object],
    *,
    rounds: int,
    warmup: int = 2,
    goal: Goal | None = None,
) -> Comparison:
    """Compare two calls in this process and print a row; the arguments are those of ``compare_commands``."""
    result = alternate(lambda: run_call(own), lambda: run_call(peer), rounds, warmup)
    print_row(labels, result, goal or Goal(), floor=False)
    return result


# --- printing -------------------------------------------------------------------------------------


def print_header(title: str) -> None:
    """Print a title and the head of the table."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS), flush=True)


def print_row(labels: tuple[str, str, str], result: Comparison, goal: Goal, *, floor: bool) -> None:
    """Print one comparison: medians of both sides, and the median of the ratios with its quartiles."""
    question, own_label, peer_label = labels
    ratios = result.overheads() if floor else result.speedups()
    ratio = f"{middle(ratios):.3g}× ({quantile(ratios, 0.25):.3g}–{quantile(ratios, 0.75):.3g})"
    over = middle(result.differences())
    if floor:
        ratio = f"{ratio}, {over * 1000:+.0f} ms"
    own_peak, peer_peak = median_peak(result.own), median_peak(result.peer)
    cells = (
        question,
        f"{own_label}: {seconds(median_wall(result.own))}",
        mebibytes(own_peak),
        peer_label,
        seconds(median_wall(result.peer)),
        mebibytes(peer_peak),
        ratio,
        str(len(ratios)),
        goal.verdict(middle(ratios), over, own_peak, median_wall(result.own)),
    )
    print("| " + " | ".join(cells) + " |", flush=True)


def median_wall(samples: list[Sample]) -> float:
    """Give the median of the wall times, in seconds."""
    return middle(sorted(sample.wall for sample in samples))


def median_peak(samples: list[Sample]) -> float | None:
    """Give the median of the peaks, in MiB, or None when one of them is unknown."""
    peaks = [sample.peak for sample in samples if sample.peak is not None]
    return middle(sorted(peaks)) if len(peaks) == len(samples) else None


def middle(ordered: list[float]) -> float:
    """Give the median of sorted numbers."""
    return quantile(ordered, 0.5)


def quantile(ordered: list[float], share: float) -> float:
    """Give a quantile of sorted numbers, linear between neighbours."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def seconds(value: float) -> str:
    """Write a time with three figures, in the unit that suits it."""
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"


def mebibytes(value: float | None) -> str:
    """Write a peak, or a dash where it is unknown."""
    return "–" if value is None else f"{value:.0f} MiB"


def note(text: str) -> None:
    """Say what is going on, away from the table."""
    print(text, file=sys.stderr, flush=True)
