"""Convolutional patch features after Coates and Ng: whitened patches as filters, rectified or spiking, pooled."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from neurocl.networks.feature_maps.feature_map import FeatureMap
from neurocl.networks.feature_maps.patches import (
    drawn_patches,
    normalised,
    patch_positions,
    region_means,
    whitening_of,
)
from neurocl.networks.operations import Operations
from neurocl.neurons import LIF
from neurocl.primitives.checks import check_count, check_name, check_number
from neurocl.primitives.tasks import CODINGS, Coding, TaskShape

BYTES_AT_ONCE = 2**21  # of responses: two images of 32 x 32 under 400 filters, a common level-2 cache


class PatchFeatures(FeatureMap):
    r"""Responses of an image's patches to whitened patches of the first task, thresholded and pooled.

    Every patch p of the image is contrast-normalised, :math:`\hat p = (p - \bar p) / \sqrt{\sigma_p^2 + \epsilon}`, and
    whitened, :math:`z = Z (\hat p - \mu)`, :math:`Z = (C + \epsilon_z I)^{-1/2}`, with mean :math:`\mu` and covariance
    C of such patches from the first task. Filters f are whitened patches of the first task of unit norm; whitening is
    folded into them. Responses :math:`r = f \cdot z`, in units of their root mean square over the first task's
    patches, are rectified, :math:`[r - \theta]_+`, and averaged over a grid of regions of the image; or they drive LIF
    units, whose firing rates are averaged. Features are the square roots of these averages, which evens out their
    spread, and a constant 1: 9 x 400 + 1 = 3,601 numbers with the defaults.

    Args:
        shape: What the inputs are; ``input_shape`` is ``(channels, height, width)``.
        filters: Number of filters.
        patch: Side of a patch, in pixels.
        regions: Pooling regions along each side of the image.
        coding: ``"spiking"`` or ``"rate"``.
        threshold: Rate coding: what a response has to exceed, :math:`\theta`; larger is sparser.
        drive: Spiking: current, in thresholds of the neuron, of a response of one root mean square; smaller is sparser.
        time_steps: Spiking: number of steps.
        keep: Spiking: share of the membrane left after one step, in (0, 1).
        contrast_floor: :math:`\epsilon` over the mean variance within the first task's patches; larger leaves faint
            patches fainter.
        whitening_floor: :math:`\epsilon_z`; larger whitens the finest structure less.
        samples: Number of patches drawn from the first task for mean, covariance and filters.
        seed: Source of the draws.

    Source:
        Coates & Ng 2011, The importance of encoding versus training with sparse coding and vector quantization; random
        patches as filters. Differs: patches of the first task only; one rectified half, not two; 3 x 3 regions, not
        2 x 2; square roots; the spiking form is ours.
    """

    weight: Tensor
    offset: Tensor
    epsilon: Tensor

    def __init__(
        self,
        shape: TaskShape,
        *,
        filters: int = 400,
        patch: int = 6,
        regions: int = 3,
        coding: Coding = "spiking",
        threshold: float = 0.6,
        drive: float = 0.25,
        time_steps: int = 8,
        keep: float = 0.8,
        contrast_floor: float = 0.5,
        whitening_floor: float = 0.1,
        samples: int = 50_000,
        seed: int = 0,
    ) -> None:
        check_count("filters", filters)
        channels, self.rows, self.columns = patch_positions(shape, patch=patch, regions=regions)
        super().__init__(shape, width=filters * regions**2 + 1)
        check_name("coding", coding, CODINGS)
        self.coding, self.patch, self.regions = coding, patch, regions
        self.threshold = check_number("threshold", threshold, at_least=0)
        self.drive = check_number("drive", drive, above=0)
        self.time_steps = check_count("time_steps", time_steps)
        self.neuron = LIF.from_keep(keep)
        self.contrast_floor = check_number("contrast_floor", contrast_floor, above=0)
        self.whitening_floor = check_number("whitening_floor", whitening_floor, above=0)
        self.samples = check_count("samples", samples, at_least=filters)
        self.seed = check_count("seed", seed, at_least=0)
        self.register_buffer("weight", torch.zeros(filters, channels * patch**2))
        self.register_buffer("offset", torch.zeros(filters))
        self.register_buffer("epsilon", torch.zeros(()))

    def operations(self, inputs: Tensor) -> Operations:
        """Count one product of every patch with every filter, and one accumulation a spike where regions are pooled."""
        images = self._checked(inputs)
        units = self.rows * self.columns * len(self.weight)
        active = sum(
            float((block if self.coding == "spiking" else block > 0).sum()) for block in self._activity(images)
        )
        active /= len(images)
        spikes = active * self.time_steps if self.coding == "spiking" else 0.0
        products = float(self.rows * self.columns * self.weight.numel())
        return Operations(synaptic_operations=spikes, multiply_accumulates=products, mean_firing_rate=active / units)

    def _fit(self, inputs: Tensor) -> None:
        """Draw patches; find mean, whitening and filters; fold them into weights and offsets."""
        drawn, variance = self._drawn(inputs)
        epsilon = self.contrast_floor * variance.mean()
        patches = normalised(drawn, epsilon)
        mean = patches.mean(0)
        centred = patches - mean
        whitening = whitening_of(centred, floor=self.whitening_floor)
        # faint patches are noise after normalisation; among the rest every one is as good, in the order drawn
        faint_last = torch.sort((variance < epsilon).to(torch.int8), stable=True).indices
        filters = functional.normalize(centred[faint_last[: len(self.weight)]] @ whitening, dim=1)
        weight = filters @ whitening
        scale = (centred @ weight.T).square().mean().sqrt()
        self.weight.copy_(weight / scale)
        self.offset.copy_(weight @ mean / scale)
        self.epsilon.copy_(epsilon)

    def _drawn(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return random patches ``[samples, values]`` in double precision, and the variance within each."""
        return drawn_patches(images, patch=self.patch, samples=self.samples, seed=self.seed)

    def _features(self, inputs: Tensor) -> Tensor:
        regions = region_means(self.rows, self.columns, self.regions).to(inputs)
        pooled = torch.cat([regions @ block for block in self._activity(inputs)])
        return functional.pad(pooled.sqrt_().flatten(1), (0, 1), value=1.0)

    def _activity(self, images: Tensor) -> Iterator[Float[Tensor, "image place filter"]]:
        """Yield the activity of all units, a block of images at a time."""
        places, (filters, values) = self.rows * self.columns, self.weight.shape
        spiking = self.coding == "spiking"
        gain = self.drive if spiking else 1.0
        weight = (gain * self.weight.T).to(images)
        constant = (-gain * self.offset - (0.0 if spiking else self.threshold)).to(images)
        for block in images.split(max(1, BYTES_AT_ONCE // (places * filters * images.element_size()))):
            patches = functional.unfold(block, self.patch).transpose(1, 2).reshape(-1, values)
            response = torch.addmm(constant, normalised(patches, self.epsilon.to(images)), weight)
            activity = self._firing_rates(response) if spiking else response.relu_()
            yield activity.view(len(block), places, filters)

    def _firing_rates(self, current: Tensor) -> Tensor:
        """Return the firing rates of units under a constant ``current``, which is overwritten.

        Units that cannot reach threshold within the time stay silent; only the others are simulated.
        """
        keep = self.neuron.keep
        least = (1 - keep) / (1 - keep**self.time_steps)  # its membrane would end at threshold; less 0.1 % for rounding
        flat = current.view(-1)
        driven = places_of(flat > 0.999 * least)
        spikes, _ = self.neuron.constant(flat.index_select(0, driven).unsqueeze(0), self.time_steps)
        flat.zero_().index_copy_(0, driven, spikes.mean(0).squeeze(0))
        return current


def places_of(chosen: Bool[Tensor, " unit"]) -> Int64[Tensor, " chosen"]:
    """Return where ``chosen`` holds; on a CPU by NumPy, in less than half of torch's time."""
    if chosen.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(chosen.numpy()))
    return torch.nonzero(chosen).squeeze(1)
