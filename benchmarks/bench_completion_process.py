"""Shell completion, as a whole process, over the floor program.

Completion is asked the way Typer's bash script asks: by the environment. A shell waits for it at every TAB.
"""

from __future__ import annotations

import subjects as given
from timing import Command, Goal, compare_commands, print_header

GOAL = Goal(over_below=0.150)
LINES = {
    "run ids and names": "agentnn run show ",
    "metrics": "agentnn run best --metric ",
    "experiments": "agentnn experiment show ",
    "models": "agentnn model versions ",
    "commands": "agentnn run ",
}


def main() -> None:
    """Print one row a completed word."""
    parser = given.parser(__doc__)
    parser.set_defaults(rounds=20)
    parser.add_argument("--runs", type=int, default=10_000)
    options = parser.parse_args()
    subjects = given.subjects(options.python, given.store_of(options.runs))

    print_header(f"Completion in a store of {options.runs:,} runs, whole process, over the floor")
    for question, line in LINES.items():
        command = completion(subjects, line)
        offered = given.output_of(command).split()
        if not offered:
            raise SystemExit(f"error: nothing is offered after {line!r}")
        labels = (f"{question} ({len(offered)} offered)", "completion", "floor")
        compare_commands(labels, command, subjects.floor(), rounds=options.rounds, warmup=2, goal=GOAL, floor=True)


def completion(subjects: given.Subjects, line: str) -> Command:
    """Give the command that a bash runs at TAB after ``line``, which ends in a space."""
    return subjects.agentnn(_AGENTNN_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(line.split())))


if __name__ == "__main__":
    main()
