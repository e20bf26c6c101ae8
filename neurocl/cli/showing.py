"""``neurocl show``: a run, a folder of runs, a trace file, or a model, in a page."""

import ast
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from neurocl.run.shelf import find, known_models, parsed, split_coding


def print_shown(text: str, populations: Sequence[str] | None = None) -> None:
    """Print what lies at a path, or the model of that name.

    Args:
        text: The path or the name.
        populations: Of a trace file, those to draw; without them the last few.

    Raises:
        BadInput: If there is nothing to show, or populations are asked of what is no trace file.
    """
    path = Path(text).expanduser()
    traces = path.suffix in {".h5", ".hdf5"} and not path.is_dir()
    if populations and not traces:
        from neurocl.primitives.checks import BadInput

        raise BadInput(f"--population must come with a trace file, such as {path / 'traces.h5'}; got {text}")
    if path.is_dir():
        print_folder(path)
    elif traces:
        from neurocl.cli.traces import print_traces

        print_traces(path, populations)
    else:
        print_model(find(split_coding(text)[0], known_models()))


def print_model(path: Path) -> None:
    """Print a model's docstring and its Config, comments included, without running the file."""
    source, tree = parsed(path)
    console = Console(highlight=False, soft_wrap=True)
    console.print(path.stem, style="bold", markup=False)
    console.print(ast.get_docstring(tree) or "", markup=False)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "Config":
            console.print()
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            console.print("\n".join(source.splitlines()[first - 1 : node.end_lineno]), markup=False)  # comments too
    console.print()
    console.print(f"neurocl run {path.stem} | neurocl copy {path.stem} mine.py", markup=False)


def print_folder(folder: Path) -> None:
    """Print a run, or compare the runs below a folder; their plots are drawn anew.

    Raises:
        BadInput: If no finished run lies there.
    """
    from neurocl.cli.display import print_comparison
    from neurocl.primitives.checks import BadInput
    from neurocl.run.compare import collect

    runs = sorted(path.parent for path in folder.rglob("results.json") if (path.parent / "config.json").is_file())
    if not runs:
        unfinished = sorted(folder.rglob("checkpoints/task-*.json"))
        hint = f"; {len(unfinished)} unfinished, which --resume goes on with" if unfinished else ""
        raise BadInput(f"{folder} holds no finished run{hint}")
    if runs == [folder]:
        print_run(folder)
        return
    comparisons = collect(runs)
    for comparison in comparisons:
        print_comparison(comparison)
    if len(comparisons) == 1:
        comparisons[0].save(folder)
        Console(highlight=False, soft_wrap=True).print(f"table and plots: {folder}", markup=False)


def print_run(folder: Path) -> None:
    """Print a run's configuration, metrics and accuracy matrix; draw its plots anew."""
    from rich.table import Table

    from neurocl.run import plasticity_plots, plots
    from neurocl.run.results import read_run

    config, results = read_run(folder)
    console = Console(highlight=False, soft_wrap=True)
    title = (
        f"{results['model']} ({results['coding']}) on {results['stream']}, {results['setting']}, seed {results['seed']}"
    )
    held_out = ", judged on held-out training samples" if results.get("judged_on") == "validation" else ""
    console.print(title + held_out, style="bold", markup=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2), show_header=False)
    for key, value in [*results.items(), *results["cost"].items()]:
        if isinstance(value, int | float):
            table.add_row(key, format(value, ".4f") if isinstance(value, float) else str(value))
    for key, value in config["config"].items():
        table.add_row(f"config.{key}", str(value))
    console.print(table)
    grid = Table(title="accuracy in %: after task (down), on task (across)", box=None, title_justify="left")
    for task in range(-1, results["tasks"]):
        grid.add_column("" if task < 0 else str(task + 1), justify="right")
    for after, row in enumerate(results["accuracy"]):
        grid.add_row(str(after + 1), *("" if value is None else f"{100 * value:.1f}" for value in row))
    console.print(grid)
    plots.save_run(folder, [results])
    plasticity_plots.save_run(folder, results)
    console.print(f"plots: {folder}", markup=False)
