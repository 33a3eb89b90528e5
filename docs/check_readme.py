"""Hold the help texts in the documents against what ``--help`` prints.

A block that follows ``<!-- help: run best -->`` is what ``agentnn run best --help`` prints.

    python docs/check_readme.py           exit 1 and name what differs
    python docs/check_readme.py --write   write what --help prints
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
DOCUMENTS = (TOP / "README.md", TOP / "docs" / "commands.md")
BLOCK = re.compile(r"(<!-- help: ?(?P<command>[^>]*?) ?-->\n```text\n)(?P<text>.*?)(```)", re.DOTALL)


def help_text(command: str) -> str:
    """What ``agentnn COMMAND --help`` prints at 100 columns."""
    argv = [sys.executable, "-m", "agentnn", *command.split(), "--help"]
    env = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"}
    found = subprocess.run(argv, capture_output=True, text=True, check=True, env=env, cwd=TOP)
    return "".join(f"{line.rstrip()}\n" for line in found.stdout.strip("\n").split("\n"))


def with_current_help(text: str) -> str:
    """A document with every help block as it should be."""
    return BLOCK.sub(lambda block: block[1] + help_text(block["command"]) + block[4], text)


def main() -> int:
    """Check or write; the exit code."""
    stale = 0
    for document in DOCUMENTS:
        before = document.read_text(encoding="utf-8")
        after = with_current_help(before)
        if before == after:
            continue
        if "--write" in sys.argv:
            document.write_text(after, encoding="utf-8")
        else:
            stale = 1
            sys.stderr.write(f"{document.relative_to(TOP)} does not show what --help prints; run: make readme\n")
    return stale


if __name__ == "__main__":
    sys.exit(main())
