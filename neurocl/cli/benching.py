"""``neurocl bench``: measure, print, and save the rows."""

from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from neurocl.primitives.checks import BadInput, check_name
from neurocl.primitives.files import write_json
from neurocl.run.bench import CURVE, report, run_bench
from neurocl.run.environment import hardware, versions

INPUTS: tuple[Literal["static", "raster"], ...] = ("static", "raster")
MODES: tuple[Literal["train", "infer"], ...] = ("train", "infer")


def print_bench(*, activity: str, inputs: str, modes: str, out: str | None, quiet: bool, **settings: Any) -> None:
    """Measure every combination of input and mode asked for, print its tables, and save all rounds to ``out``.

    Raises:
        BadInput: If an argument is out of range or the file cannot be written.
    """
    check_name("input", inputs, [*INPUTS, "both"])
    check_name("mode", modes, [*MODES, "both"])
    levels = activities_of(activity)
    rows = []
    said = Console(stderr=True, highlight=False, quiet=quiet)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=200, highlight=False)  # a pipe or file has no edge
    for kind in [kind for kind in INPUTS if inputs in {kind, "both"}]:
        for mode in [mode for mode in MODES if modes in {mode, "both"}]:
            with said.status(f"{kind} input, {mode}") as status:
                own = run_bench(activity=levels, input=kind, mode=mode, progress=status.update, **settings)
            report(own, console)
            rows += own
    machine = hardware("cpu") | {"threads": settings["threads"]}
    console.print(f"{machine['cpu']}, {machine['cores']} cores, torch {versions()['torch']}", markup=False)
    if out is not None:
        write_json(Path(out), {"rows": rows, "hardware": machine, "versions": versions()})


def activities_of(text: str) -> list[float]:
    """Read ``0.05``, ``0.01,0.05`` or ``curve``.

    Raises:
        BadInput: If the text is nothing of these.
    """
    if text == "curve":
        return list(CURVE)
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise BadInput(f"--activity takes numbers such as 0.05 or 0.01,0.05,0.2, or curve; got {text!r}") from None
