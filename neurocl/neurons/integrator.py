"""The leaky integrator: a readout that never fires, whose output is its membrane."""

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.kernels.leak import leaky_sequence
from neurocl.neurons.leak import Gain, Integration, gain_of, keep_of
from neurocl.neurons.neuron import Neuron
from neurocl.primitives.time_constants import tau_of


def integrator_step(
    current: Float[Tensor, "*neuron"], v: Float[Tensor, "*neuron"], *, keep: float, gain: float = 1.0
) -> Float[Tensor, "*neuron"]:
    r"""Return the membrane after one step, :math:`v \leftarrow keep\,v + gain\,I`.

    Solves :math:`\tau \dot v = -v + I` exactly for a current held over the step, with ``gain`` = 1 - ``keep``.

    Args:
        current: Input current.
        v: Membrane before the step; rest is 0.
        keep: Share of the membrane left after one step, in (0, 1); larger averages over longer.
        gain: Factor on the current; a constant current ``I`` settles at ``gain * I / (1 - keep)``.
    """
    return keep * v + gain * current


class Integrator(Neuron):
    r"""Leaky integrators: :func:`integrator_step` over time; the output is the membrane after each step.

    Args:
        tau_membrane_ms: Membrane time constant; longer averages over longer.
        dt_ms: Length of one step.
        integration: ``"exact"``, :math:`keep = e^{-dt/\tau}`, or ``"euler"``, :math:`keep = 1 - dt/\tau`.
        gain: Factor on the current; ``"leak"`` is 1 - ``keep``: a constant current is then the membrane it settles at.

    Attributes:
        keep: Share of the membrane left after one step.

    Raises:
        BadInput: If a time constant is not positive and finite.
    """

    spiking = False

    def __init__(
        self,
        *,
        tau_membrane_ms: float = 20.0,  # as LIF
        dt_ms: float = 1.0,
        integration: Integration = "exact",
        gain: Gain = 1.0,
    ) -> None:
        super().__init__()
        self.tau_membrane_ms, self.dt_ms = tau_membrane_ms, dt_ms
        self.keep = keep_of(tau_membrane_ms, dt_ms=dt_ms, integration=integration)
        self.gain = gain_of(gain, keep=self.keep)

    @classmethod
    def from_keep(cls, keep: float, *, dt_ms: float = 1.0, gain: Gain = 1.0) -> "Integrator":
        """Return integrators that keep this share of their membrane at every step."""
        neuron = cls(tau_membrane_ms=tau_of(keep, dt_ms=dt_ms), dt_ms=dt_ms, gain=gain)
        neuron.keep, neuron.gain = float(keep), gain_of(gain, keep=keep)
        return neuron

    def initial_state(self, current: Tensor) -> Tensor:
        """Return the membrane at rest."""
        return torch.zeros_like(current, requires_grad=False)

    def advance(self, current: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the membrane after one step, twice: as output and as state."""
        v = integrator_step(current, state, keep=self.keep, gain=self.gain)
        return v, v

    def advance_all(self, current: Tensor, state: Tensor, time_steps: int | None) -> tuple[Tensor, Tensor]:
        """Return the membrane after every step, and after the last."""
        return leaky_sequence(current, state, keep=self.keep, gain=self.gain, time_steps=time_steps)

    def extra_repr(self) -> str:
        """Return the constants that decide the dynamics."""
        return f"keep={self.keep:g}, gain={self.gain:g}"
