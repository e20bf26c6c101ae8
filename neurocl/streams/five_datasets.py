"""Several datasets, one a task: five image sets of ten classes each, or any others that are known.

Images are brought to one form: bytes, 32 x 32; smaller ones are enlarged by a whole factor (repeating pixels: 8 x 8 by
four, 16 x 16 by two) and padded with black; grey ones are copied to three channels if any of the sets has colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Unpack

import torch
from jaxtyping import Shaped
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_name
from neurocl.primitives.tasks import Setting
from neurocl.streams.datasets import DATASETS, load
from neurocl.streams.labelled_data import LabelledData
from neurocl.streams.normalisation import Scale
from neurocl.streams.portion import Portion
from neurocl.streams.preparation import Preparation, Prepared, prepare
from neurocl.streams.stream import Stream, check_setting

FIVE = ("cifar10", "mnist", "svhn", "fashion-mnist", "notmnist")
STAND_INS = ("usps", "kannada-mnist")  # for SVHN, the first at hand
SIDE = 32
HLOP_CONSTANTS = {  # mean and deviation of the padded images, as in the HLOP paper's code
    "cifar10": ((125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255)),
    "mnist": ((0.1,), (0.2752,)),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.198, 0.201, 0.197)),
    "fashion-mnist": ((0.2190,), (0.3318,)),
    "notmnist": ((0.4254,), (0.4501,)),
}


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """Puts images in the middle of a black square of ``SIDE`` pixels, enlarged by a whole factor, in ``channels``."""

    channels: int

    @property
    def recipe(self) -> str:
        """What identifies the form in the stream's digest."""
        return f"canvas of {self.channels} x {SIDE} x {SIDE}"

    def __call__(self, raw: Shaped[Tensor, "sample channel height width"]) -> Shaped[Tensor, "sample colour side side"]:
        """Return images ``[n, channels, SIDE, SIDE]``."""
        factor = max(1, SIDE // max(raw.shape[-2:]))
        images = raw.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)
        height, width = images.shape[-2:]
        top, left = (SIDE - height) // 2, (SIDE - width) // 2
        images = torch.nn.functional.pad(images, (left, SIDE - width - left, top, SIDE - height - top))
        return images.expand(-1, self.channels, -1, -1) if images.shape[1] == 1 else images


def five_datasets(
    datasets: Sequence[str] | None = None,
    *,
    setting: str = "task-incremental",
    seed: int = 0,
    name: str = "",
    **preparation: Unpack[Preparation],
) -> Stream:
    """Make a stream of known datasets, one a task.

    Args:
        datasets: Names of known datasets in order. Default: CIFAR-10, MNIST, SVHN, Fashion-MNIST, notMNIST; where SVHN
            is not in ``NEUROCL_DATA``, USPS or Kannada-MNIST stands in, and the stream's name says so.
        setting: Task- and class-incremental: every dataset's classes are labels of their own. Domain-incremental:
            classes share labels by position, so that all sets need equally many.
        seed: Decides sample order and every seeded choice.
        name: What the stream is called in results.
        **preparation: See :mod:`neurocl.streams.preparation`. ``normalise="unit"`` treats all sets alike;
            ``"standardise"`` uses the first set; ``"published"`` gives each set its own constants, as the HLOP paper's
            code does, which tells tasks apart.

    Raises:
        BadInput: Unknown or missing datasets, or options that cannot make a stream.

    Source:
        Ebrahimi et al. 2020, arXiv:2003.09553; constants and padding after Xiao et al. 2024, arXiv:2402.11984. Differs:
        sets whose training part is not at hand are split by index.
    """
    checked = check_setting(setting)
    names, title = _choose(datasets)
    sets = [_as_bytes(load(dataset)) for dataset in names]
    if checked == "domain-incremental" and len({len(data.class_names) for data in sets}) > 1:
        raise BadInput(
            "domain-incremental tasks share labels, so all datasets need equally many classes; choose others"
        )
    prepared = [prepare(data, seed=seed, **preparation) for data in sets]
    portions, class_names = _portions(prepared, checked)
    return Stream(portions, name=name or title, setting=checked, class_names=class_names, seed=seed)


def _choose(datasets: Sequence[str] | None) -> tuple[tuple[str, ...], str]:
    """Return the datasets to use and the stream's name."""
    if datasets is not None:
        names = tuple(check_name("dataset", name, DATASETS) for name in datasets)
        if len(names) < 2 or len(set(names)) < len(names):
            raise BadInput(f"datasets must name at least two different datasets; got {', '.join(names) or 'none'}")
        return names, "five-datasets" if names == FIVE else "datasets-" + "-".join(names)
    stand_in = next((name for name in STAND_INS if DATASETS[name].present), None)
    if DATASETS["svhn"].present or stand_in is None:
        return FIVE, "five-datasets"
    return tuple(stand_in if name == "svhn" else name for name in FIVE), f"five-datasets-with-{stand_in}"


def _as_bytes(data: LabelledData) -> LabelledData:
    """Bring images to bytes from 0 to 255."""
    low, high = data.value_range or (0.0, 255.0)
    if (low, high) == (0.0, 255.0):
        return data
    train, test = (((x.float() - low) * (255 / (high - low))).round().to(torch.uint8) for x in (data.train, data.test))
    return replace(data, train=train, test=test, value_range=(0.0, 255.0))


def _portions(prepared: Sequence[Prepared], setting: Setting) -> tuple[list[Portion], list[str]]:
    """One portion a dataset, and the name of every label."""
    channels = max(each.data.input_shape[0] for each in prepared)
    portions: list[Portion] = []
    class_names: list[str] = []
    first_id = 0
    for index, each in enumerate(prepared):
        start = 0 if setting == "domain-incremental" else len(class_names)
        labels = each.order.argsort() + start
        train, validation, test = each.of_classes(each.order, labels)
        portions.append(
            Portion(
                data=each.data, train=train, validation=validation, test=test, view=Canvas(channels=channels),
                scale=_scale(prepared[0], each), first_id=first_id, test_group=index,
            )
        )  # fmt: skip
        first_id += each.data.largest
        if setting != "domain-incremental":
            class_names += [f"{each.data.name}: {each.data.class_names[label]}" for label in each.order]
    if setting == "domain-incremental":
        columns = zip(*([each.data.class_names[label] for label in each.order] for each in prepared), strict=True)
        class_names = ["/".join(column) for column in columns]
    return portions, class_names


def _scale(first: Prepared, own: Prepared) -> Scale:
    """Scale of the first dataset, or a dataset's own published one."""
    if own.normalise != "published":
        return first.scale(first.train)
    constants = HLOP_CONSTANTS.get(own.data.name)
    return replace(own, data=replace(own.data, published=constants)).scale(own.train)
