"""Rotated streams: the same images in every task, turned by another angle."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_count, check_number
from neurocl.streams.labelled_data import LabelledData, labelled_data
from neurocl.streams.portion import Portion
from neurocl.streams.preparation import Preparation, prepare
from neurocl.streams.repeated import repeated_rows
from neurocl.streams.stream import Stream, check_setting

HALF_TURN_DEGREES = 180.0
ROWS_AT_ONCE = 4096  # bounds the memory of the float32 images while they are turned


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Turns images about their centre, bilinear; what was outside is ``background``. Bytes stay bytes, rounded.

    Attributes:
        angle_degrees: Anticlockwise, as the image is looked at.
        background: Raw value of an empty pixel.
    """

    angle_degrees: float
    background: float

    @property
    def recipe(self) -> str:
        """What identifies the rotation in the stream's digest."""
        return f"rotation by {self.angle_degrees!r} degrees, background {self.background!r}"

    def __call__(self, raw: Shaped[Tensor, "sample ..."]) -> Shaped[Tensor, "sample ..."]:
        """Return turned images ``[..., channels, height, width]`` in the type they came in."""
        if self.angle_degrees % 360 == 0:
            return raw
        images = raw.flatten(0, -4)
        turned = [self._turn(block) for block in images.split(ROWS_AT_ONCE)]
        return torch.cat(turned).reshape(raw.shape)

    def _turn(
        self, images: Shaped[Tensor, "image channel height width"]
    ) -> Shaped[Tensor, "image channel height width"]:
        """Turn one block of images."""
        height, width = images.shape[-2:]
        cosine, sine = math.cos(math.radians(self.angle_degrees)), math.sin(math.radians(self.angle_degrees))
        # where each new pixel comes from, in units of half a side; a row of the image points down
        matrix = torch.tensor([[cosine, -sine * height / width, 0.0], [sine * width / height, cosine, 0.0]])
        grid = torch.nn.functional.affine_grid(matrix.expand(len(images), 2, 3), [*images.shape], align_corners=False)
        shifted = images.to(torch.float32) - self.background
        turned = torch.nn.functional.grid_sample(shifted, grid, padding_mode="zeros", align_corners=False)
        turned = turned + self.background
        return turned if images.is_floating_point() else turned.round_().clamp_(0, 255).to(images.dtype)


def rotated(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    tasks: int = 5,
    *,
    angles: Sequence[float] | None = None,
    setting: str = "domain-incremental",
    seed: int = 0,
    name: str = "rotated-data",
    layout: str = "auto",
    **preparation: Unpack[Preparation],
) -> Stream:
    """Make a stream of ``tasks`` rotations of your own images.

    Args:
        x_train: Images, as for :func:`neurocl.streams.split`.
        y_train: Likewise.
        x_test: Likewise.
        y_test: Likewise.
        tasks: Number of tasks.
        angles: One angle a task, in degrees, anticlockwise; default: equal steps from 0 to below 180
            (five tasks: 0, 36, 72, 108, 144).
        setting: Domain-incremental: all tasks share the classes' labels. Class- and task-incremental: every task's
            classes are labels of their own.
        seed: Decides sample order and every seeded choice.
        name: What the stream is called in results.
        layout: See :mod:`neurocl.streams.labelled_data`.
        **preparation: See :mod:`neurocl.streams.preparation`.

    Raises:
        BadInput: On data or options that cannot make a stream, naming what to change.

    Source:
        Lopez-Paz and Ranzato 2017, arXiv:1706.08840. Differs: equal steps; theirs draws the angles.
    """
    data = labelled_data(x_train, y_train, x_test, y_test, name=name, layout=layout)
    return rotated_stream(data, tasks=tasks, angles=angles, setting=setting, seed=seed, name=name, **preparation)


def rotated_stream(
    data: LabelledData,
    *,
    tasks: int = 5,
    angles: Sequence[float] | None = None,
    setting: str = "domain-incremental",
    seed: int = 0,
    name: str = "",
    **preparation: Unpack[Preparation],
) -> Stream:
    """As :func:`rotated`, over data already read."""
    checked, count = check_setting(setting), check_count("tasks", tasks)
    if len(data.input_shape) != 3:
        raise BadInput(f"only images can be turned; a sample of {data.name} has shape {data.input_shape}: use permuted")
    degrees = _angles(angles, count)
    prepared = prepare(data, seed=seed, **preparation)
    rows, class_names = repeated_rows(prepared, [f"{angle:g} degrees" for angle in degrees], checked)
    scale = prepared.scale(prepared.train)
    background = data.value_range[0] if data.value_range else float(data.train[torch.from_numpy(prepared.train)].min())
    portions = [
        Portion(
            data=prepared.data, train=train, validation=validation, test=test, scale=scale,
            view=Rotation(angle_degrees=degrees[index], background=background),
            first_id=index * data.largest, test_group=index,
        )
        for index, (train, validation, test) in enumerate(rows)
    ]  # fmt: skip
    return Stream(portions, name=name or f"rotated-{data.name}", setting=checked, class_names=class_names, seed=seed)


def _angles(angles: Sequence[float] | None, tasks: int) -> list[float]:
    """Check the user's angles, or take equal steps through a half turn."""
    if angles is None:
        return np.linspace(0.0, HALF_TURN_DEGREES, tasks, endpoint=False).tolist()
    degrees = [check_number("an angle", angle) for angle in angles]
    if not degrees:
        raise BadInput("angles must give one angle a task; got none: leave angles out for equal steps")
    if len(degrees) != tasks:
        raise BadInput(
            f"angles must give one angle a task; got {len(degrees)} for {tasks} tasks: set tasks={len(degrees)}"
        )
    return degrees
