"""The command line as a process: how it begins and how it ends, both in as little time as can be."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
import threading
from contextlib import nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import NoReturn


def main() -> NoReturn:
    """The console script."""
    gc.disable()  # what is loaded to begin with stays to the end: there is no garbage to look for
    from agentnn.cli.app import run_command
    from agentnn.cli.completion import mend_bash_words

    gc.freeze()
    gc.enable()
    _prepare_streams()
    kept_by_shell = mend_bash_words()
    with redirect_stdout(io.StringIO()) if kept_by_shell else nullcontext() as completions:
        try:
            code = run_command(sys.argv[1:])
        except SystemExit as end:  # Typer has completed a word
            code = end.code if isinstance(end.code, int) else 0
    if completions is not None:
        lines = completions.getvalue().splitlines()
        sys.stdout.writelines(line.removeprefix(kept_by_shell) + "\n" for line in lines)
    _leave(code)


def _prepare_streams() -> None:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before we were started
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - it lives as long as the process
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # a terminal that can't show a character gets its code instead
            stream.reconfigure(errors="backslashreplace")


def _leave(code: int) -> NoReturn:
    """End the process, at once where nobody waits to be told.

    Python would first take apart all that it has loaded, which is a good part of what a short command costs. Whoever
    has something to do at the end, be it a library, a thread or a debugger, still gets to do it.
    """
    handlers: int = getattr(atexit, "_ncallbacks", lambda: 1)()  # only CPython tells
    if handlers or threading.active_count() > 1 or sys.gettrace() or sys.getprofile():
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # it was said, if it was an answer that did not get through
            stream.flush()
    os._exit(code)
