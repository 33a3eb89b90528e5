"""The registered models of a large registry, with their aliases, as a whole process.

``agentnn model list`` against a script that gets the same answer from ``MlflowClient``: by two searches, which is the
fastest way, and by asking for each model, as older versions of MLflow need it for the aliases.
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
    own = subjects.agentnn("model", "list")
    peers = {
        "MlflowClient script, two searches": subjects.script("peer_model_list.py"),
        "MlflowClient script, each model": subjects.script("peer_model_list.py", "--ask-each"),
    }
    ours = given.output_of(subjects.agentnn("model", "list", "--columns", COLUMNS)).splitlines()[1:]
    for peer in peers.values():
        given.same("models", sorted(ours), sorted(given.output_of(peer).splitlines()))

    print_header(f"{options.models:,} registered models with {options.versions} versions each, whole process")
    for label, peer in peers.items():
        compare_commands(("model list", "agentnn", label), own, peer, rounds=options.rounds, goal=GOAL)


def registry_of(models: int, versions: int) -> Path:
    """Return a store with so many models, made first if need be; its answers are compared by the caller."""
    argv = [sys.executable, str(given.HERE / "make_store.py"), "--runs", "1000", "--no-check"]
    argv += ["--models", str(models), "--versions", str(versions)]
    return Path(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


if __name__ == "__main__":
    main()
