"""Lists, as whole processes: runs, experiments and registered models.

``agentnn run list``, ``experiment list`` and ``model list`` against ``mlflow runs list``, ``mlflow
experiments search`` and a script that asks ``MlflowClient``. ``mlflow runs list`` shows id and name of the
first 1000 runs of one experiment; the last row asks us for the same runs.
"""

from __future__ import annotations

import subjects as given
from timing import Command, Goal, compare_commands, print_header

EXPERIMENT = "1"
GOAL = Goal(at_least=30)


def main() -> None:
    """Print one row a list."""
    parser = given.parser(__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--without-agentnn", action="store_true", help="the floor in the place of agentnn")
    options = parser.parse_args()
    subjects = given.subjects(options.python, given.store_of(options.runs))
    if not options.without_agentnn:
        check_answers(subjects)

    goal = None if options.without_agentnn else GOAL
    print_header(f"Lists in a store of {options.runs:,} runs, whole process")
    runs_list = subjects.mlflow("runs", "list", "--experiment-id", EXPERIMENT)
    peers = {
        ("run", "list"): ("mlflow runs list", runs_list),
        ("experiment", "list"): ("mlflow experiments search", subjects.mlflow("experiments", "search")),
        ("model", "list"): ("MlflowClient script", subjects.script("peer_models.py")),
        ("run", "list", "-e", EXPERIMENT, "-n", "1000"): ("mlflow runs list", runs_list),
    }
    for arguments, (peer_label, peer) in peers.items():
        question = " ".join(arguments)
        label = "floor" if options.without_agentnn else "agentnn"
        own = subjects.floor() if options.without_agentnn else subjects.agentnn(*arguments)
        compare_commands((question, label, peer_label), own, peer, rounds=options.rounds, goal=goal)


def check_answers(subjects: given.Subjects) -> None:
    """See that both sides list the same models, experiments and number of runs."""
    theirs = given.output_of(subjects.script("peer_models.py")).splitlines()
    ours = given.output_of(subjects.agentnn("model", "list", "-o", "id")).split()
    given.same("models", sorted(ours), sorted(line.split("\t")[0] for line in theirs))
    ours = given.output_of(subjects.agentnn("experiment", "list", "-o", "id")).split()
    given.same("experiments", sorted(ours), table_ids(subjects.mlflow("experiments", "search")))
    asked = ("run", "list", "-e", EXPERIMENT, "-n", "1000", "-o", "id")
    theirs = table_ids(subjects.mlflow("runs", "list", "--experiment-id", EXPERIMENT), last=True)
    given.same("runs", sorted(given.output_of(subjects.agentnn(*asked)).split()), theirs)


def table_ids(command: Command, *, last: bool = False) -> list[str]:
    """Read the ids out of a table that MLflow prints: the first word of a line, or the last."""
    lines = given.output_of(command).splitlines()[2:]
    return sorted(line.split()[-1 if last else 0] for line in lines if line.strip())


if __name__ == "__main__":
    main()
