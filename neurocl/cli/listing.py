"""``neurocl list`` and ``neurocl copy``: what is on the shelf, and a copy of it. Quick: nothing here loads torch."""

import shutil
from pathlib import Path

from rich.console import Console
from rich.table import Table

from neurocl.run.shelf import find, known_experiments, known_models, summary_of

KINDS = ("models", "experiments", "streams")


def print_list(what: str) -> None:
    """Print models, experiments or streams by name, with a line on each."""
    if what not in {"all", *KINDS}:
        from neurocl.primitives.checks import check_name

        check_name("list", what, KINDS)
    if what == "streams":
        print_streams()
        return
    shelves = {"models": known_models(), "experiments": known_experiments()}
    for kind, known in shelves.items():
        if what in {"all", kind} and known:
            print_table(kind, [(name, summary_of(path)) for name, path in known.items()])
    if what == "all":
        Console(highlight=False).print("Streams are listed by: neurocl list streams (split-digits needs no download)")


def print_streams() -> None:
    """Print the known streams, and whether their data are at hand."""
    from neurocl.streams import known

    rows = [(stream.name, f"{stream.about}{'' if stream.present else ' (data not at hand)'}") for stream in known()]
    print_table("streams", [*rows, ("FILE.npz", "your own arrays x_train, y_train, x_test, y_test, split by classes")])


def print_table(title: str, rows: list[tuple[str, str]]) -> None:
    """Print names and what they stand for."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=200, highlight=False)  # a pipe or file has no edge
    table = Table(box=None, pad_edge=False, padding=(0, 2), show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, text in rows:
        table.add_row(name, text)
    console.print(title.capitalize(), style="bold")
    console.print(table)
    console.print()


def copy_file(name: str, destination: Path) -> Path:
    """Copy a model or experiment from the shelf and return where it is.

    Raises:
        BadInput: If something stands at the destination already, or there is nothing of that name.
    """
    source = find(name, {**known_experiments(), **known_models()}, what="model or experiment")
    target = destination / source.name if destination.is_dir() else destination
    if target.suffix != ".py" or target.exists():
        from neurocl.primitives.checks import BadInput

        reason = "exists already: choose another name" if target.exists() else "must end in .py to be run"
        raise BadInput(f"{target} {reason}")
    shutil.copyfile(source, target)
    return target
