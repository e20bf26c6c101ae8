"""Random projections: fixed random weights, rectified or spiking."""

import torch
from torch import Tensor
from torch.nn import functional

from neurocl.networks.feature_maps.feature_map import FeatureMap
from neurocl.networks.operations import Operations
from neurocl.neurons import LIF
from neurocl.primitives.checks import check_count, check_name, check_number
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import CODINGS, Coding, TaskShape

UNITS_AT_ONCE = 2**16  # their spikes over 16 steps are 4 MB, a common level-2 or level-3 cache


class RandomFeatures(FeatureMap):
    r"""Units behind random weights: :math:`[x W + b]_+`, or the firing rate of LIF units that it drives.

    Projections are divided by their root mean square over the first task's inputs, unit by unit, so that the units are
    driven alike whatever the inputs' scale; ``b`` is drawn from N(0, ``bias``) after that. Spiking units get
    ``drive`` times the current for T steps; their features are firing rates, T + 1 levels. Of a sequence, every step
    drives the units, and rectified outputs are averaged.

    Args:
        shape: What the inputs are; images are taken as vectors.
        features: Number of units.
        coding: ``"spiking"`` or ``"rate"``.
        time_steps: Steps of a spiking unit for a static input; sequences bring their own.
        keep: Share of the membrane left after one step, in (0, 1).
        drive: Current of a spiking unit, in thresholds, for a projection of one root mean square.
        bias: Standard deviation of the constant current, in root mean squares of the projection.
        seed: Source of the weights.

    Source:
        Random-feature ridge as in Zhuang et al. 2022 (ACIL). Differs: no backbone before it; the spiking form is ours.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        shape: TaskShape,
        *,
        features: int = 1000,
        coding: Coding = "spiking",
        time_steps: int = 16,
        keep: float = 0.95,
        drive: float = 0.3,
        bias: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(shape, width=check_count("features", features))
        check_name("coding", coding, CODINGS)
        self.coding = coding
        self.time_steps = check_count("time_steps", time_steps)
        self.drive = check_number("drive", drive, above=0)
        self.neuron = LIF.from_keep(keep)
        draws = generator(check_count("seed", seed, at_least=0), "random features")
        self.register_buffer("weight", torch.randn(features, shape.features, generator=draws))
        self.register_buffer(
            "bias", torch.randn(features, generator=draws).mul_(check_number("bias", bias, at_least=0))
        )

    def operations(self, inputs: Tensor) -> Operations:
        """Count the projection, once for a static input, and one accumulation a spike for its rate."""
        inputs = self._checked(inputs)
        sequence = self.shape.time_steps
        features = self(inputs)
        if self.coding == "rate":
            rate, spikes = float((features > 0).float().mean()), 0.0
        else:
            rate = float(features.mean())
            spikes = rate * self.width * (sequence or self.time_steps)
        products = float((sequence or 1) * self.weight.numel())
        return Operations(synaptic_operations=spikes, multiply_accumulates=products, mean_firing_rate=rate)

    def _fit(self, inputs: Tensor) -> None:
        """Scale the weights to projections of root mean square 1."""
        rows = self._rows(inputs)
        square = torch.zeros_like(self.bias)
        for block in rows.split(self._block()):
            square += functional.linear(block, self.weight.to(block)).square().sum(0)
        self.weight /= (square / len(rows)).sqrt().clamp_min(torch.finfo(square.dtype).tiny)[:, None]

    def _features(self, inputs: Tensor) -> Tensor:
        rows = self._rows(inputs)
        if self.shape.time_steps is not None:
            drive = torch.cat([self._drive(block) for block in rows.split(self._block())])
            return self._over_time(drive.unflatten(0, inputs.shape[:2]))
        return torch.cat([self._response(self._drive(block)) for block in rows.split(self._block())])

    def _rows(self, inputs: Tensor) -> Tensor:
        """Return ``[rows, values]``, a row for every sample or every step of one."""
        return inputs.reshape(-1, self.shape.features)

    def _block(self) -> int:
        return max(1, UNITS_AT_ONCE // self.width)

    def _drive(self, rows: Tensor) -> Tensor:
        return functional.linear(rows, self.weight.to(rows), self.bias.to(rows))

    def _response(self, drive: Tensor) -> Tensor:
        """Return the units' activity under a constant drive."""
        if self.coding == "rate":
            return drive.relu_()
        return self.neuron.constant(drive.mul_(self.drive), self.time_steps)[0].mean(0)

    def _over_time(self, drive: Tensor) -> Tensor:
        """Return the units' mean activity under a drive ``[T, B, unit]``."""
        if self.coding == "rate":
            return drive.relu_().mean(0)
        return self.neuron(drive.mul_(self.drive))[0].mean(0)
