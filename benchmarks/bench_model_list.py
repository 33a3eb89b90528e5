"""The registered models of a large registry, with their aliases, as a whole process.

``agentnn model list`` against a script that gets the same answer from ``MlflowClient``, which has to ask for each
model by its name to learn its aliases.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import subjects as given
from timing import Goal, compare_commands, print_header

GOAL = Goal(at_least=20)
COLUMNS = "name,latest_version,version_count,aliases"


def main() -> None:
    """Print one row."""
    parser = given.parser(__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--versions", type=int, default=10)
    options = parser.parse_args()
    subjects = given.subjects(options.python, registry_of(options.models, options.versions))
    own, peer = subjects.agentnn("model", "list"), subjects.script("peer_model_list.py")
    asked = subjects.agentnn("model", "list", "--columns", COLUMNS)
    ours = given.output_of(asked).splitlines()[1:]
    given.same("models", sorted(ours), sorted(given.output_of(peer).splitlines()))

    print_header(f"{options.models:,} registered models with {options.versions} versions each, whole process")
    compare_commands(("model list", "agentnn", "MlflowClient script"), own, peer, rounds=options.rounds, goal=GOAL)


def registry_of(models: int, versions: int) -> Path:
    """Return a store with so many models, made first if need be; its answers are compared by the caller."""
    argv = [sys.executable, str(given.HERE / "make_store.py"), "--runs", "1000", "--no-check"]
    argv += ["--models", str(models), "--versions", str(versions)]
    return Path(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


if __name__ == "__main__":
    main()
