"""A configuration of 500 keys: read, resolved and checked, in process, after the import.

``ConfigurationManager`` against what one writes by hand: PyYAML's ``safe_load`` and a pydantic model, which knows no
lines, takes the last of two equal keys, and reads ``1e-4`` as text (the file therefore has none); once with PyYAML's
own loader, which is what users have, and once with the loader in C.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import subjects as given
from timing import Goal, alternate, median_wall, print_header, print_row, run_call, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL_S = 0.050
KEYS = 500


def main() -> None:
    """Print a row a peer, and whether the goal was met."""
    parser = given.parser(__doc__)
    parser.set_defaults(rounds=30)
    options = parser.parse_args()
    if Path(options.python).absolute() != Path(sys.executable).absolute():
        os.execve(options.python, [options.python, *sys.argv], given.clean_environment())
    with tempfile.TemporaryDirectory(prefix="agentnn-bench-") as folder:
        path = Path(folder) / "large.yaml"
        path.write_text(large_file())
        compare(path, options.rounds)


def compare(path: Path, rounds: int) -> None:
    """Measure, after both sides were seen to give the same values."""
    import yaml

    from agentnn.config.schema import Config
    from agentnn.sdk.config_manager import ConfigurationManager

    def own() -> dict[str, Any]:
        return ConfigurationManager(path).get_config().to_dict()

    def by_hand(loader: Any) -> Callable[[], dict[str, Any]]:
        return lambda: Config.model_validate(yaml.load(path.read_text(), Loader=loader)).to_dict()

    print_header(f"A configuration of {KEYS} keys, in process")
    times = []
    for label, loader in (("safe_load and pydantic", yaml.SafeLoader), ("CSafeLoader and pydantic", yaml.CSafeLoader)):
        peer = by_hand(loader)
        given.same("the values", own(), peer())
        result = alternate(lambda: run_call(own), lambda peer=peer: run_call(peer), rounds, 3)
        print_row(("validate", "ConfigurationManager", label), result, Goal(), floor=False)
        times.append(median_wall(result.own))
    met = "met" if max(times) < GOAL_S else "MISSED"
    print(f"\nConfigurationManager: {seconds(max(times))}; goal: < {GOAL_S * 1000:.0f} ms {met}")


def large_file() -> str:
    """Give a file of 500 keys: what the schema knows, a large search, and mappings of the user's own."""
    lines = ["experiment:", "  name: large", "  tags:", *(f"    tag_{number}: value {number}" for number in range(100))]
    lines += [
        "model:",
        "  hidden_layers: [64, 32]",
        "  params:",
        *(f"    p{number}: {number}" for number in range(100)),
    ]
    lines += ["data:", "  params:", *(f"    column_{number}: name {number}" for number in range(100))]
    lines += ["training:", "  optimizer: Adam", "  epochs: 20", "  learning_rate: 0.001", "  params:"]
    lines += [f"    flag_{number}: {'true' if number % 2 else 'false'}" for number in range(100)]
    lines += ["hpo:", "  num_trials: 10", "  param_space:", "    learning_rate: [0.0001, 0.001, 0.01]"]
    lines += ["    batch_size: [16, 32, 64]", "    dropout: {low: 0.0, high: 0.5}"]
    made = [line for line in lines if ":" in line]
    lines += [f"    model.params.p{number}: [1, 2, 3]" for number in range(KEYS - len(made))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
