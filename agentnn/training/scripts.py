"""What the scripts of this package are: commands under another name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = ("-h", "--help")


def run_script(command: str, template: str, arguments: Sequence[str]) -> NoReturn:
    """Run a command of ``agentnn run``, and leave with its exit code.

    Args:
        command: Its name.
        template: The configuration that is taken where the command line names none: a file of ``config_templates``,
            if it is there.
        arguments: What stands behind the script's name.
    """
    _leave_out_own_folder()
    from agentnn.cli.app import run_command  # above this layer: the script is the command

    names_one = bool(arguments) and (arguments[0] in _HELP or not arguments[0].startswith("-"))
    found = None if names_one or "--resume" in arguments else find_template(template)
    sys.exit(run_command(["run", command, *([str(found)] if found else []), *arguments]))


def find_template(name: str) -> Path | None:
    """A file of ``config_templates``: of the working directory or its folder ``training``, or beside the package."""
    folders = (Path.cwd(), Path.cwd() / "training", Path(__file__).parents[2])
    return next((path for one in folders if (path := one / "config_templates" / name).is_file()), None)


def _leave_out_own_folder() -> None:
    """Run by its path, a script would hide packages that are called like a module beside it, such as ``datasets``."""
    own = Path(__file__).resolve().parent
    sys.path[:] = [one for one in sys.path if Path(one or ".").resolve() != own]
