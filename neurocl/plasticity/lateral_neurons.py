r"""How lateral neurons answer their drive :math:`y = H x`: linear, by a rate code of signed spikes, or spike by spike.

A population gets its drive over the Hebbian synapses H, and reaches back to the layer's input over the anti-Hebbian
ones, :math:`-H^\top`.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_count, check_name, check_number


@runtime_checkable
class LateralNeurons(Protocol):
    """Contract: what a population answers.

    Attributes:
        linear: Whether the answer is the drive itself; weight gradients can then be projected instead of inputs.
    """

    linear: bool

    def respond(
        self, drive: Float[Tensor, "sample row"], weights: Float[Tensor, "row pre"]
    ) -> Float[Tensor, "sample row"]:
        """Return the answer to ``drive``, which arrived over ``weights``."""
        ...

    def feedforward(self, drive: Float[Tensor, "sample row"]) -> Float[Tensor, "sample row"]:
        """Return the answer before feedback arrives, which Hebbian learning goes by.

        What is said after settling leaves a residual outside the span of the rows, from which Oja's rule could not tell
        how long its rows are: they would grow without bound.
        """
        ...


def check_neurons(neurons: object) -> LateralNeurons:
    """Return ``neurons`` if they are lateral neurons."""
    if isinstance(neurons, type) or not isinstance(neurons, LateralNeurons):
        raise BadInput(f"neurons must be an object such as LinearNeurons() or SpikeRates(); got {neurons!r}")
    return neurons


@dataclass(frozen=True)
class LinearNeurons:
    """The answer is the drive."""

    linear = True

    def respond(
        self, drive: Float[Tensor, "sample row"], weights: Float[Tensor, "row pre"]
    ) -> Float[Tensor, "sample row"]:
        """Return ``drive``."""
        return drive

    def feedforward(self, drive: Float[Tensor, "sample row"]) -> Float[Tensor, "sample row"]:
        """Return ``drive``."""
        return drive


@dataclass(frozen=True, kw_only=True)
class _SignedSpikes:
    """Numbers of a population that answers in signed spikes."""

    scale: float = 20.0
    steps: int = 40
    linear = False

    def __post_init__(self) -> None:
        check_number("scale", self.scale, above=0)
        check_count("steps", self.steps)

    @property
    def quantum(self) -> float:
        """What one spike stands for."""
        return self.scale / self.steps

    def feedforward(self, drive: Float[Tensor, "sample row"]) -> Float[Tensor, "sample row"]:
        """Return the drive in whole spikes."""
        return drive.clamp(-self.scale, self.scale).div_(self.quantum).round_().mul_(self.quantum)


@dataclass(frozen=True, kw_only=True)
class SpikeRates(_SignedSpikes):
    r"""Signed spike counts of ``steps`` lateral steps, in closed form.

    .. math:: q(y) = \frac{s}{T_l} \,\mathrm{round}\!\left(\frac{T_l}{s}\,\mathrm{clamp}(y, -s, s)\right)

    Attributes:
        scale: Largest answer :math:`s`, one spike at every step; what goes beyond is cut off.
        steps: Lateral steps :math:`T_l` to one step of the network; one spike stands for ``scale / steps``.

    Source:
        Xiao et al. 2024, ICLR, spiking lateral neurons; defaults of their code are 20 and 1000, of its example 20 and
        40.
    """

    def respond(
        self, drive: Float[Tensor, "sample row"], weights: Float[Tensor, "row pre"]
    ) -> Float[Tensor, "sample row"]:
        """Return the quantised drive."""
        return self.feedforward(drive)


@dataclass(frozen=True, kw_only=True)
class SettlingSpikes(_SignedSpikes):
    r"""A population of signed spiking neurons, simulated: spikes inhibit what caused them until nothing is left to say.

    The input layer holds the residual :math:`e = x - H^\top r`, r being what was said so far. Each of ``steps`` lateral
    steps drives the membranes to :math:`u = H e` over the Hebbian synapses; a neuron beyond half a quantum
    :math:`q = s / T_l` fires a spike of that sign, :math:`r \leftarrow r + q\,z`, and its anti-Hebbian feedback takes
    :math:`q\,H^\top z` out of the residual. Feedback and next drive are one product with :math:`H H^\top` here.

    For orthonormal rows it ends where :class:`SpikeRates` does. For rows that are not, neurons that overlap
    take each other's share into account: the answer goes to the least-squares one, and the residual leaves the span of
    the rows, where the closed form leaves an error as large as the overlaps.

    Attributes:
        scale: Largest answer, one spike at every step.
        steps: Lateral steps :math:`T_l` to one step of the network.

    Source:
        Xiao et al. 2024, ICLR (circuit); Boerlin, Machens & Denève 2013, PLoS Computational Biology 9 (spikes that code
        for what is not said yet). Differs from the first: simulated, theirs is the closed form.
    """

    def respond(
        self, drive: Float[Tensor, "sample row"], weights: Float[Tensor, "row pre"]
    ) -> Float[Tensor, "sample row"]:
        """Return what the population has said after ``steps`` steps."""
        inhibition = (weights @ weights.T) * self.quantum
        membrane, count = drive.clone(), torch.zeros_like(drive)
        for _ in range(self.steps):
            spikes = torch.where(membrane.abs() > self.quantum / 2, membrane.sign(), 0.0)
            count += spikes
            membrane -= spikes @ inhibition
        return count.mul_(self.quantum)


def lateral_neurons(name: str, *, scale: float = 20.0, steps: int = 40) -> LateralNeurons:
    """Return lateral neurons by name: ``"linear"``, ``"spike-rates"`` or ``"settling"``; the first takes no numbers."""
    check_name("kind of lateral neurons", name, ("linear", "spike-rates", "settling"))
    if name == "linear":
        return LinearNeurons()
    return (SpikeRates if name == "spike-rates" else SettlingSpikes)(scale=scale, steps=steps)
