"""Hold the help texts in the documents against what ``--help`` prints.

A block that follows ``<!-- help: run best -->`` is what ``agentnn run best --help`` prints. ``commands.md`` has one for
every command, in the order of the groups.

    python docs/check_readme.py           exit 1 and name what differs
    python docs/check_readme.py --write   write what --help prints
"""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parent.parent
README, COMMANDS = TOP / "README.md", TOP / "docs" / "commands.md"
BLOCK = re.compile(r"(<!-- help: ?(?P<command>[^>]*?) ?-->\n```text\n)(?P<text>.*?)(```)", re.DOTALL)


def help_text(command: str) -> str:
    """What ``agentnn COMMAND --help`` prints at 100 columns."""
    from agentnn.cli.app import run_command

    with redirect_stdout(io.StringIO()) as said:
        code = run_command([*command.split(), "--help"])
    if code != 0:
        raise RuntimeError(f"agentnn {command} --help ends with {code}")
    return "".join(f"{line.rstrip()}\n" for line in said.getvalue().strip("\n").split("\n"))


def with_current_help(text: str) -> str:
    """A document with every help block as it should be."""
    return BLOCK.sub(lambda block: block[1] + help_text(block["command"]) + block[4], text)


def commands_page(text: str) -> str:
    """The page of commands: what stands before its first section, then a section for each command."""
    from agentnn.cli.app import commands_for

    sections = [
        f"## agentnn {name}\n\n<!-- help: {name} -->\n```text\n{help_text(name)}```\n"
        for name in command_names(typer.main.get_command(commands_for()))
    ]
    return "\n".join([text.partition("## ")[0].rstrip("\n") + "\n", *sections])


def command_names(command: Any, name: str = "") -> Iterator[str]:
    """The names of all commands, as they are typed."""
    for key, one in getattr(command, "commands", {}).items():
        whole = f"{name} {key}".strip()
        if hasattr(one, "commands"):
            yield from command_names(one, whole)
        else:
            yield whole


def main() -> int:
    """Check or write; the exit code."""
    os.environ |= {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"}
    stale = 0
    for document, current in ((README, with_current_help), (COMMANDS, commands_page)):
        before = document.read_text(encoding="utf-8")
        after = current(before)
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
