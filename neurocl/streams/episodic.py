"""Episodic streams: classes come one by one, among others that come back, with a part of their samples each time."""

from typing import Any, Unpack

import numpy as np

from neurocl.primitives.checks import BadInput, check_count, check_number
from neurocl.primitives.seeding import numpy_generator
from neurocl.primitives.tasks import Setting
from neurocl.streams.labelled_data import LabelledData, labelled_data
from neurocl.streams.preparation import Preparation, prepare
from neurocl.streams.recurring import numbered, portions_of
from neurocl.streams.stream import Stream, check_setting

LEAST_NOVEL = 0.05  # fewer novel classes make streams of hundreds of episodes


def episodic(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    classes_per_task: int = 3,
    *,
    novel: float = 0.3,
    share: float = 0.5,
    setting: str = "class-incremental",
    seed: int = 0,
    name: str = "episodic-data",
    layout: str = "auto",
    **preparation: Unpack[Preparation],
) -> Stream:
    """Make a stream of episodes over your own arrays: few classes at a time, some novel, the others seen before.

    Each of an episode's classes is, with probability ``novel``, the next one of the class order, and otherwise drawn
    among those of earlier episodes; the stream ends with the episode that brings the last class. How many episodes that
    takes follows from the seed and is known beforehand. An episode may bring no novel class at all.

    Accuracy is over all classes after every episode: they share one test set. Only in a task-incremental stream is
    episode ``t`` tested on its own classes.

    Args:
        x_train: As for :func:`neurocl.streams.split`.
        y_train: Likewise.
        x_test: Likewise.
        y_test: Likewise.
        classes_per_task: Classes in each episode, at least 2.
        novel: Probability that a class of an episode is a novel one while there are any, from 0.05 to 1; smaller means
            more episodes. Where too few classes were seen, novel ones take their places, as in the first episode.
        share: Share of a class's training samples drawn for each episode it is in, above 0 and up to 1; at least one.
        setting: Class- and task-incremental number classes in order of appearance. Domain-incremental labels a class by
            its place in the class order modulo ``classes_per_task``, and an episode has one class of each label.
        seed: Decides the draws, sample order and every seeded choice.
        name: What the stream is called in results.
        layout: See :mod:`neurocl.streams.labelled_data`.
        **preparation: See :mod:`neurocl.streams.preparation`.

    Raises:
        BadInput: On data or options that cannot make a stream, naming what to change.

    Source:
        Gurbuz et al. 2023, arXiv:2305.18563 (SHARP: blurry boundaries, three classes an episode, novel with probability
        0.3). Differs: tested on all classes from the start, theirs on those seen, which is the same after the last
        episode; novel classes come in the class order; half of the samples are our default, the published share is not
        known to us. Samples of two episodes do not mix: boundaries between episodes are clear, between classes not.
    """
    return episodic_stream(
        labelled_data(x_train, y_train, x_test, y_test, name=name, layout=layout),
        classes_per_task=classes_per_task,
        novel=novel,
        share=share,
        setting=setting,
        seed=seed,
        name=name,
        **preparation,
    )


def episodic_stream(
    data: LabelledData,
    *,
    classes_per_task: int = 3,
    novel: float = 0.3,
    share: float = 0.5,
    setting: str = "class-incremental",
    seed: int = 0,
    name: str = "",
    **preparation: Unpack[Preparation],
) -> Stream:
    """As :func:`episodic`, over data already read."""
    checked, part = check_setting(setting), check_number("share", share, above=0.0, at_most=1.0)
    prepared = prepare(data, seed=seed, **preparation)
    size = check_count("classes_per_task", classes_per_task, at_least=2)
    if size > len(prepared.order):
        raise BadInput(f"classes_per_task must be at most the number of classes, {len(prepared.order)}; got {size}")
    drawn = draw_episodes(prepared.order, checked, size=size, novel=novel, seed=seed)
    label_of_class, names = numbered(drawn, prepared.order, data.class_names, checked, size=size)
    return Stream(
        portions_of(
            prepared, drawn, label_of_class, checked, amount=lambda found: max(1, round(part * found)), seed=seed
        ),
        name=name or f"episodic-{data.name}",
        setting=checked,
        boundary="recurring",
        class_names=names,
        seed=seed,
    )


def draw_episodes(order: np.ndarray, setting: Setting, *, size: int, novel: float, seed: int) -> list[np.ndarray]:
    """Return the classes of each episode, all different; in a domain-incremental stream one class for each label."""
    chance = check_number("novel", novel, at_least=LEAST_NOVEL, at_most=1.0)
    draw = numpy_generator(seed, "episodes")
    apart = setting == "domain-incremental"
    pools = [(order[at::size] if apart else order).tolist() for at in range(size)]
    seen: set[int] = set()
    episodes = []
    while len(seen) < len(order):
        chosen: list[int] = []
        for pool in pools:
            fresh = [label for label in pool if label not in seen and label not in chosen]
            known = [label for label in pool if label in seen and label not in chosen]
            is_novel = draw.random() < chance
            chosen.append(fresh[0] if fresh and (is_novel or not known) else int(draw.choice(known)))
        seen.update(chosen)
        episodes.append(np.array(chosen))
    return episodes
