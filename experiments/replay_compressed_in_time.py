"""Sleep after each task: stored spikes replayed without input, faster than they were recorded, hold old classes.

Spiking 784-400-400-10, T = 16, split MNIST, class-incremental, 500 training and 200 test images a class. Awake, a task
is learnt by two passes, its own two classes competing; the first layer learns in the first task alone. Then rasters of
20 samples a class are stored behind that layer, and the network sleeps: 60 steps of 64 rasters of the replayed
classes, all classes seen competing. Varied: how many steps are brought into one (spikes merged, or thinned to
the same rate), and from how many of the last classes is replayed. Time asleep counts the steps simulated. --record
runs seed 0 asleep at two speeds and not at all, and keeps every spike of the sleeps and of evaluations after each task.

Run: python experiments/replay_compressed_in_time.py   (half an hour of one core; --record: three minutes)
"""

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import optim

from neurocl import record, streams
from neurocl.cli.experiment import asked, save_table
from neurocl.learners import cross_entropy
from neurocl.memory import ActivationReplay, compressed_in_time
from neurocl.networks import MLP, Direct
from neurocl.primitives.annotation import annotated
from neurocl.primitives.seeding import generator
from neurocl.streams import Stream

SEEDS = range(3)
CLAIMS = ()  # what is measured is no table of runs
OUT = Path("results/experiments/replay_compressed_in_time")
STREAM = {"train_per_class": "500", "test_per_class": "200"}
TIME_STEPS, STORED, ASLEEP, DRAWN = 16, 20, 60, 64
FACTORS = (1, 2, 4, 8, 16)
VARIANTS = [
    *((factor, merge, 10) for merge in ("any", "thinned") for factor in FACTORS if merge == "any" or factor > 1),
    *((factor, "any", classes) for factor in (1, 4) for classes in (4, 6, 8)),
    (1, "any", 0),
]
RECORDED = {"awake": (1, "any", 0), "asleep": (1, "any", 10), "asleep-4-times-as-fast": (4, "thinned", 10)}


def accuracy(seed: int, factor: int, merge: str, classes: int, traces: Path | None = None) -> float:
    """Return the mean accuracy over all tasks at the end; ``classes`` 0 means no sleep."""
    stream = streams.open("split-mnist", seed=seed, options=STREAM)
    network = MLP(stream.shape, hidden=(400, 400), encoding=Direct(TIME_STEPS), head="single", seed=seed)
    if traces is None:
        return learnt(network, stream, seed, factor, merge, classes, annotated)
    traces.unlink(missing_ok=True)
    recorder = record.Recorder(traces, network, phases=["replay", "evaluation"], spikes="raster")
    with recorder, annotated(phase="training"):  # which is not recorded
        return learnt(network, stream, seed, factor, merge, classes, recorder.samples)


def learnt(
    network: MLP, stream: Stream, seed: int, factor: int, merge: str, classes: int, samples: Callable[..., Any]
) -> float:
    """Learn the tasks, asleep behind each; ``samples`` says of what passes whose it is."""
    memory = ActivationReplay(0, store="raster", per_class=STORED, horizon=None, seed=seed)
    draws, seen, right = generator(seed, "sleep"), [], []
    for task in stream:
        seen += task.classes
        plastic = [own for name, own in network.named_parameters() if not (task.index and name.startswith("layers.0"))]
        optimiser = optim.Adam(plastic, lr=0.001)
        for epoch in range(2):
            for batch in task.batches(64, epoch):
                step(optimiser, cross_entropy(network.train()(batch.inputs), batch.labels, classes=task.classes))
        for batch in task.batches(1024, -1):
            memory.observe(network, batch, task=task.index)
        replayed = torch.tensor(seen[-classes:] if classes else [])
        members = torch.isin(memory.labels, replayed).nonzero().squeeze(1)
        optimiser = optim.Adam(plastic, lr=0.001)
        for _ in range(ASLEEP if classes else 0):
            past = memory.take(members[torch.randint(len(members), (DRAWN,), generator=draws)])
            spikes = compressed_in_time(past.activity, factor, merge=merge, generator=draws)
            with samples(phase="replay", labels=past.labels, stage=task.index):
                answer = network.forward_from(0, spikes)
            step(optimiser, cross_entropy(answer, past.labels, classes=seen))
        right = []
        for index in range(task.index + 1):
            test = stream.test(index)
            with samples(phase="evaluation", labels=test.labels, task=index, stage=task.index):
                right.append(float((network.predict(test.inputs).argmax(1) == test.labels).float().mean()))
    return statistics.fmean(right)


def step(optimiser: optim.Optimizer, loss: torch.Tensor) -> None:
    """Make one step."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def main(record: bool) -> int:
    """Run, print and save."""
    OUT.mkdir(parents=True, exist_ok=True)
    if record:
        for name, variant in RECORDED.items():
            traces = OUT / f"{name}.h5"
            print(f"{name}: {100 * accuracy(0, *variant, traces):.1f} %; neurocl show {traces}", flush=True)
        return 0
    lines = ["| speed | spikes | classes replayed | steps asleep a task | accuracy |", "|---:|---|---:|---:|---:|"]
    found = {}
    for factor, merge, classes in VARIANTS:
        runs = [accuracy(seed, factor, merge, classes) for seed in SEEDS]
        found[f"{factor}, {merge}, {classes}"] = runs
        asleep = ASLEEP * -(-TIME_STEPS // factor) if classes else 0
        lines.append(
            f"| {factor} | {merge} | {classes or 'no sleep'} | {asleep} "
            f"| {100 * statistics.fmean(runs):.1f} ± {100 * statistics.stdev(runs):.1f} |"
        )
        print(lines[-1], flush=True)
        save_table(OUT, lines, found)
    return 0


if __name__ == "__main__":
    sys.exit(main("record" in asked(__doc__, "record").flags))
