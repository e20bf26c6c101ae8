"""From the words on the command line to an exit code; every mistake of the user's is one line on stderr and code 2."""

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    sys.exit(exit_code(arguments))


def exit_code(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    from typer.main import get_command

    from neurocl.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            stream.reconfigure(errors="replace")  # pyrefly: ignore[missing-attribute]  # absent on replaced streams
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its font cache, once on a new machine
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = int(get_command(app).main(args=words, prog_name="neurocl", standalone_mode=False) or 0)
        return interrupted() if code == INTERRUPTED else code
    except KeyboardInterrupt:
        return interrupted()
    except BrokenPipeError:  # whoever read our output has gone: neurocl list | head -1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if type(error).__name__ == "Abort":  # what the command line library makes of Ctrl-C
            return interrupted()
        line = mistake(error)
        if line is None:
            raise
        print("neurocl:", line, file=sys.stderr)  # noqa: T201  # this is the command line's voice
        return BAD_INPUT


def interrupted() -> int:
    """Say how to go on after Ctrl-C."""
    line = "neurocl: interrupted; finished runs and tasks are kept: the same command with --resume goes on from there"
    print(line, file=sys.stderr)  # noqa: T201  # this is the command line's voice
    return INTERRUPTED


def mistake(error: Exception) -> str | None:
    """Return what the user can do about ``error``, on one line; ``None`` if it is not the user's doing."""
    checks = sys.modules.get("neurocl.primitives.checks")  # imports torch; an error of its can only come once it is in
    if checks is not None and isinstance(error, checks.BadInput):
        return str(error)
    say = getattr(error, "format_message", None)  # the command line library's own errors, from whichever package
    if callable(say):
        return f"{' '.join(str(say()).split())} (neurocl --help shows how)"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    return None
