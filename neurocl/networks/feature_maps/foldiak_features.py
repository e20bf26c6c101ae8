"""Patch features of Földiák's circuit: filters that inhibit each other at every place, learnt by local rules."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
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
from neurocl.networks.foldiak import FoldiakLayer
from neurocl.networks.operations import Operations
from neurocl.primitives.checks import check_count, check_number
from neurocl.primitives.tasks import Coding, TaskShape

BYTES_AT_ONCE = 2**22  # of drives: the state of a block stays in the cache while its units settle
BATCH = 100  # patches the circuit learns from at once
CALMER = 0.3  # factor on all learning rates in the last third, where thresholds and weights have to come to rest


class FoldiakFeatures(FeatureMap):
    r"""Outputs of a :class:`~neurocl.networks.FoldiakLayer` at every place of an image, pooled.

    Patches are contrast-normalised and whitened as in :class:`~neurocl.networks.PatchFeatures`, and drive one layer of
    units whose filters start as whitened patches of the first task (in units of their root mean square response). The
    layer sees patches of the first task once, and from then on rests. At each place of an image its units settle under
    their mutual inhibition; features are the square roots of their outputs' means over a grid of regions, and a
    constant 1.

    Args:
        shape: What the inputs are; ``input_shape`` is ``(channels, height, width)``.
        filters: Number of units at each place.
        patch: Side of a patch, in pixels.
        regions: Pooling regions along each side of the image.
        coding: ``"spiking"`` or ``"rate"``: how the units settle.
        target_rate: Output the units are held at; see the layer for this and the next six.
        time_steps: Steps to settle.
        keep: Share of the potential left after one step.
        anti_hebbian_rate: Learning rate of lateral inhibition; 0 leaves units without lateral synapses.
        lateral_decay: Decay of lateral inhibition.
        hebbian_rate: Learning rate of the filters; 0 keeps them the patches they start as.
        threshold_rate: Learning rate of thresholds.
        threshold: Thresholds at the start, in root mean squares of the response.
        contrast_floor: Added to the variance within a patch, in mean variances of the first task's patches.
        whitening_floor: Added to the spectrum of the patches; larger whitens the finest structure less.
        samples: Number of patches drawn from the first task; each is learnt from once.
        seed: Source of the draws.

    Source:
        Földiák 1990; Zylberberg et al. 2011; Coates & Ng 2011 for the features around. Differs: see
        :class:`~neurocl.networks.FoldiakLayer`; the combination is ours.
    """

    whitening: Tensor
    mean: Tensor
    epsilon: Tensor

    def __init__(
        self,
        shape: TaskShape,
        *,
        filters: int = 400,
        patch: int = 6,
        regions: int = 3,
        coding: Coding = "spiking",
        target_rate: float = 0.08,
        time_steps: int = 8,
        keep: float = 0.8,
        anti_hebbian_rate: float = 0.05,
        lateral_decay: float = 5.0,
        hebbian_rate: float = 0.1,
        threshold_rate: float = 0.05,
        threshold: float = 4.0,
        contrast_floor: float = 0.5,
        whitening_floor: float = 0.1,
        samples: int = 60_000,
        seed: int = 0,
    ) -> None:
        check_count("filters", filters)
        channels, self.rows, self.columns = patch_positions(shape, patch=patch, regions=regions)
        super().__init__(shape, width=filters * regions**2 + 1)
        self.patch, self.regions = patch, regions
        self.circuit = FoldiakLayer(
            channels * patch**2,
            filters,
            coding=coding,
            target_rate=target_rate,
            time_steps=time_steps,
            keep=keep,
            anti_hebbian_rate=anti_hebbian_rate,
            lateral_decay=lateral_decay,
            hebbian_rate=hebbian_rate,
            threshold_rate=threshold_rate,
            seed=seed,
        )
        self.circuit.threshold.fill_(check_number("threshold", threshold, above=0))
        self.contrast_floor = check_number("contrast_floor", contrast_floor, above=0)
        self.whitening_floor = check_number("whitening_floor", whitening_floor, above=0)
        self.samples = check_count("samples", samples, at_least=filters)
        self.seed = check_count("seed", seed, at_least=0)
        self.register_buffer("whitening", torch.zeros(channels * patch**2, channels * patch**2))
        self.register_buffer("mean", torch.zeros(channels * patch**2))
        self.register_buffer("epsilon", torch.zeros(()))

    def operations(self, inputs: Tensor) -> Operations:
        """Count one product of every patch with every filter, and what outputs cost on their way.

        A spike reaches all other units at its place (where there is lateral inhibition), and its pool. Graded outputs
        meet all lateral weights in every step but the first.
        """
        images = self._checked(inputs)
        places, filters = self.rows * self.columns, self.circuit.feedforward.shape[0]
        lateral = bool((self.circuit.lateral > 0).any())
        steps, products = self.circuit.time_steps, float(places * self.circuit.feedforward.numel())
        spiking = self.circuit.coding == "spiking"
        blocks = list(self._settled(images))
        active = sum(float((block if spiking else block > 0).sum()) for block in blocks) / len(images)
        spikes = active * steps if spiking else 0.0
        if lateral and not spiking:
            products += places * filters * (filters - 1) * (steps - 1)
        return Operations(
            synaptic_operations=spikes * (filters if lateral else 1),
            multiply_accumulates=products,
            mean_firing_rate=active / (places * filters),
        )

    def _fit(self, inputs: Tensor) -> None:
        """Draw patches, whiten them, start the circuit from some and let it learn from all."""
        drawn, variance = drawn_patches(inputs, patch=self.patch, samples=self.samples, seed=self.seed)
        epsilon = self.contrast_floor * variance.mean()
        patches = normalised(drawn, epsilon)
        mean = patches.mean(0)
        whitening = whitening_of(patches - mean, floor=self.whitening_floor)
        whitened = ((patches - mean) @ whitening).float()
        clear = whitened[variance >= epsilon]  # faint patches are noise after normalisation
        filters = functional.normalize(whitened[torch.sort((variance < epsilon).to(torch.int8), stable=True).indices])
        filters = filters[: len(self.circuit.feedforward)]
        self.circuit.feedforward.copy_(filters / (whitened @ filters.T).square().mean().sqrt())
        self.whitening.copy_(whitening)
        self.mean.copy_(mean)
        self.epsilon.copy_(epsilon)
        self._learn(clear.to(self.mean))

    def _learn(self, patches: Tensor) -> None:
        """Let the circuit see every patch once; calmer in the last third."""
        batches = patches.split(BATCH)
        for place, batch in enumerate(batches):
            self.circuit.learn(batch, pace=1.0 if 3 * place < 2 * len(batches) else CALMER)

    def _features(self, inputs: Tensor) -> Tensor:
        regions = region_means(self.rows, self.columns, self.regions).to(inputs)
        pooled = torch.cat([regions @ block for block in self._settled(inputs)])
        return functional.pad(pooled.sqrt_().flatten(1), (0, 1), value=1.0)

    def _settled(self, images: Tensor) -> Iterator[Float[Tensor, "image place filter"]]:
        """Yield the output of all units, a block of images at a time."""
        places, filters = self.rows * self.columns, self.circuit.feedforward.shape[0]
        weight = (self.circuit.feedforward @ self.whitening).to(images)
        offset = (weight @ self.mean.to(images)).neg_()
        most = max(1, math.floor(BYTES_AT_ONCE / (places * filters * images.element_size())))
        for block in images.split(most):
            patches = functional.unfold(block, self.patch).transpose(1, 2).reshape(-1, weight.shape[1])
            drive = torch.addmm(offset, normalised(patches, self.epsilon.to(images)), weight.T)
            yield self.circuit.settle(drive).view(len(block), places, filters)
