"""The commands of ``neurocl``. Each reads its words, calls the room below, and prints."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_STREAM = "split-digits"
EPILOG = "Try: neurocl compare split-digits"

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Stream = Annotated[
    str, typer.Argument(help="A stream by name ([b]neurocl list streams[/b]), or the path of an .npz file.")
]
Setting = Annotated[
    str | None,
    typer.Option(help="[b]class-incremental[/b], [b]domain-incremental[/b] or [b]task-incremental[/b]."),
]
Seeds = Annotated[str, typer.Option(help="One run for each: [b]0[/b], [b]0,1,2[/b] or [b]0-4[/b].")]
Device = Annotated[str, typer.Option(help="[b]auto[/b] takes the GPU where there is one; or [b]cpu[/b], [b]cuda[/b].")]
Out = Annotated[
    str | None, typer.Option(help="Folder for the runs; without it [b]results/STREAM/SETTING[/b].", metavar="FOLDER")
]
Record = Annotated[bool, typer.Option("--record", help="Keep activity traces, in traces.h5 of the run's folder.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change one number of the model's Config; [b]stream.NAME=VALUE[/b]: an option of the stream; "
        "[b]record.NAME=VALUE[/b]: what to record. Repeatable.",
        metavar="NAME=VALUE",
    ),
]
Validation = Annotated[
    float | None,
    typer.Option(
        help="To choose settings by: judge on this share of every class's training samples, held out, and not on test "
        "samples; without --out, results go to a folder of their own.",
        metavar="SHARE",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last finished task; skip finished runs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.")]
Workers = Annotated[
    int | None, typer.Option(help="Processes at a time; without it one a CPU core, two on a GPU.", min=1, metavar="N")
]


def show_version(asked: bool | None) -> None:
    """Print the version and leave."""
    if asked:
        from neurocl import __version__

        typer.echo(f"neurocl {__version__}")
        raise typer.Exit


@app.callback(epilog=EPILOG)
def neurocl(
    version: Annotated[
        bool | None, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = None,
) -> None:
    """Continual learning in spiking neural networks, beside the rate-coded methods it is compared with.

    \b
    [b]A first look:[/b] all models on real data, in a few minutes.
      neurocl compare split-digits

    \b
    [b]One model,[/b] three seeds, one number changed; ewc:rate has rate units.
      neurocl run ewc split-digits --seeds 0-2 --set strength=100
      neurocl run ewc:rate split-digits --setting task-incremental

    \b
    [b]A model of your own:[/b] copy one, edit it, run it.
      neurocl copy finetune mine.py
      neurocl run mine.py split-digits
    """  # noqa: D301  # typer keeps the lines of a paragraph that begins with a backspace


@app.command()
def run(
    model: Annotated[
        str, typer.Argument(help="A model by name, or the path of a .py file; [b]:rate[/b] for rate units.")
    ],
    stream: Stream = DEFAULT_STREAM,
    setting: Setting = None,
    seeds: Seeds = "0",
    device: Device = "auto",
    out: Out = None,
    record: Record = False,
    settings: Settings = None,
    validation: Validation = None,
    resume: Resume = False,
    quiet: Quiet = False,
    workers: Workers = None,
) -> None:
    """Run one model on one stream.

    \b
    Results go to results/STREAM/SETTING/MODEL-CODING/seed-N, runs with other
    settings beside it. Run again, also with the model file edited, replaces
    them when it is done. A folder of a different run is never touched.

    \b
      neurocl run ridge
      neurocl run replay:rate split-mnist --seeds 0-4
      neurocl run mine.py data.npz --set stream.classes_per_task=1
      neurocl run ewc split-digits --validation 0.2 --set strength=100
    """  # noqa: D301  # typer keeps the lines of a paragraph that begins with a backspace
    from neurocl.cli.runs import judged_by, run_models, template

    settings = judged_by(settings, validation)
    job = template(stream, setting=setting, device=device, out=out, record=record, settings=settings, resume=resume)
    raise typer.Exit(run_models([model], job, seeds=seeds, settings=settings, quiet=quiet, workers=workers))


@app.command()
def compare(
    stream: Stream = DEFAULT_STREAM,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models by name or path; a bare name runs spiking and rate-coded. Without any: all shipped."
        ),
    ] = None,
    setting: Setting = None,
    seeds: Seeds = "0-2",
    device: Device = "auto",
    out: Out = None,
    record: Record = False,
    settings: Settings = None,
    validation: Validation = None,
    resume: Resume = False,
    quiet: Quiet = False,
    workers: Workers = None,
) -> None:
    """Run several models on one stream and put them into one table.

    \b
    The closed-form ridge readouts are always among them: they are the bar.
    --set goes to every model that has a setting of that name. Table and plots
    go to results/STREAM/SETTING, every run into a folder of its own below it.

    \b
      neurocl compare split-digits
      neurocl compare split-mnist ewc replay:rate mine.py --seeds 0-4
      neurocl compare split-mnist ewc replay:rate mine.py --seeds 0-4 --resume
    """  # noqa: D301  # typer keeps the lines of a paragraph that begins with a backspace
    from neurocl.cli.runs import compare_models, judged_by, template

    settings = judged_by(settings, validation)
    job = template(stream, setting=setting, device=device, out=out, record=record, settings=settings, resume=resume)
    raise typer.Exit(compare_models(models or [], job, seeds=seeds, settings=settings, quiet=quiet, workers=workers))


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="[b]models[/b], [b]experiments[/b] or [b]streams[/b].")] = "all",
) -> None:
    """List models and experiments on the shelf, or the known streams."""
    from neurocl.cli.listing import print_list

    print_list(what)


@app.command()
def show(
    path: Annotated[
        str, typer.Argument(help="A run folder, a folder of runs, a trace file, or a model.", metavar="PATH|MODEL")
    ],
    populations: Annotated[
        list[str] | None,
        typer.Option("--population", help="Of a trace file, draw only this one. Repeatable.", metavar="NAME"),
    ] = None,
) -> None:
    """Summarise a run or a trace file, compare the runs in a folder (plots are drawn anew), or explain a model.

    \b
      neurocl show results/split-digits/class-incremental
      neurocl show traces.h5 --population layers.0
      neurocl show ewc    prints what ewc is, and every number of its Config
    """  # noqa: D301  # typer keeps the lines of a paragraph that begins with a backspace
    from neurocl.cli.showing import print_shown

    print_shown(path, populations or None)


@app.command()
def export(
    traces: Annotated[
        str, typer.Argument(help="A trace file, or the folder of a run with --record.", metavar="TRACES")
    ],
    destination: Annotated[
        str,
        typer.Argument(
            help="A new file; [b].nwb[/b], [b].nir.h5[/b] or [b].sonata.h5[/b] says which format.", metavar="DEST"
        ),
    ],
    to: Annotated[
        str | None, typer.Option(help="[b]sonata[/b], [b]nir[/b] or [b]nwb[/b], whatever DEST ends in.")
    ] = None,
    populations: Annotated[
        list[str] | None, typer.Option("--population", help="Only this one. Repeatable.", metavar="NAME")
    ] = None,
    variables: Annotated[
        list[str] | None,
        typer.Option("--variable", help="Only this one, such as [b]spikes[/b]. Repeatable.", metavar="NAME"),
    ] = None,
    tasks: Annotated[
        list[int] | None, typer.Option("--task", help="Only samples of this task, from 0. Repeatable.", metavar="N")
    ] = None,
    phase: Annotated[
        str | None,
        typer.Option(help="Only [b]training[/b], [b]evaluation[/b], [b]replay[/b] or [b]consolidation[/b]."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
) -> None:
    """Write activity traces to a file of the field: SONATA, NIR or NWB.

    \b
    sonata  spikes as events, variables as reports: libsonata, BMTK
    nir     arrays of samples, of one length: nir.read_data
    nwb     units, time series and trials: pynwb, neo, elephant
    A file that is there is never written over; half a file never stays.

    \b
      neurocl export results/mine/seed-0 mine.nwb
      neurocl export traces.h5 hidden.nir.h5 --population layers.0
      neurocl export traces.h5 first.h5 --to sonata --task 0 --task 1
    """  # noqa: D301  # typer keeps the lines of a paragraph that begins with a backspace
    from neurocl.cli.exporting import export as write

    write(
        traces,
        destination,
        to=to,
        quiet=quiet,
        populations=populations or None,
        variables=variables or None,
        task=tasks or None,
        phase=phase,
    )


@app.command()
def copy(
    model: Annotated[str, typer.Argument(help="A model or experiment by name.")],
    destination: Annotated[Path, typer.Argument(help="A new file, or a folder.", metavar="DEST")],
) -> None:
    """Copy a model or experiment, to edit it and run it by its path.

    \b
      neurocl copy finetune mine.py
      neurocl run mine.py split-digits
    """  # noqa: D301  # typer keeps the lines of a paragraph that begins with a backspace
    from neurocl.cli.listing import copy_file

    typer.echo(f"{copy_file(model, destination)} is yours to edit")


@app.command()
def bench(
    time_steps: Annotated[int, typer.Option(help="Steps.", min=1, metavar="T")] = 32,
    batch: Annotated[int, typer.Option(help="Samples at once.", min=1, metavar="B")] = 128,
    activity: Annotated[
        str,
        typer.Option(help="Spikes per hidden neuron and step, [b]0.05[/b] or [b]0.01,0.05,0.2[/b], or [b]curve[/b]."),
    ] = "0.05",
    input_: Annotated[
        str, typer.Option("--input", help="[b]static[/b] images, a [b]raster[/b] of spikes, or [b]both[/b].")
    ] = "both",
    mode: Annotated[str, typer.Option(help="[b]train[/b], [b]infer[/b] or [b]both[/b].")] = "both",
    rounds: Annotated[int, typer.Option(help="Times that every contender runs.", min=1)] = 9,
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1)] = 1,
    parts: Annotated[bool, typer.Option(help="Measure the speed-ups one by one as well.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="See that everything runs; the times mean nothing.")] = False,
    out: Annotated[str | None, typer.Option(help="Save all rounds as JSON.", metavar="FILE")] = None,
    quiet: Quiet = False,
) -> None:
    """Time the spiking network against snnTorch, Norse and SpikingJelly on this machine.

    \b
    A 784-400-400-10 network of the same weights in each library that is
    installed. Spikes are compared first; times are processor times of
    interleaved rounds in one process.

    \b
      neurocl bench
      neurocl bench --activity curve --input static --mode train
    """  # noqa: D301  # typer keeps the lines of a paragraph that begins with a backspace
    from neurocl.cli.benching import print_bench

    print_bench(
        activity=activity,
        inputs=input_,
        modes=mode,
        out=out,
        quiet=quiet,
        time_steps=time_steps,
        batch=batch,
        rounds=rounds,
        threads=threads,
        parts=parts,
        quick=quick,
    )
