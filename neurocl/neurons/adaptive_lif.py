"""Adaptive leaky integrate-and-fire neurons: every spike raises the threshold for a while."""

from typing import Any, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.kernels.alif import adaptive_sequence
from neurocl.kernels.lif_passes import Fire
from neurocl.kernels.transforms import inside_compiler, inside_transform
from neurocl.neurons.firing import (
    DEFAULT_SURROGATE,
    AnySurrogate,
    ImmediateReset,
    Kernel,
    check_firing,
    checked_surrogate,
)
from neurocl.neurons.leak import Gain, Integration, check_keep, gain_of, keep_of
from neurocl.neurons.neuron import Neuron
from neurocl.primitives.checks import check_number
from neurocl.primitives.surrogates import Surrogate
from neurocl.primitives.time_constants import tau_of


class AdaptiveLIFState(NamedTuple):
    """Membrane and adaptation: a decaying count of past spikes."""

    v: Tensor
    adaptation: Tensor


def adaptive_lif_step(
    current: Float[Tensor, "*neuron"],
    v: Float[Tensor, "*neuron"],
    adaptation: Float[Tensor, "*neuron"],
    *,
    keep: float,
    keep_adaptation: float,
    strength: float = 0.2,
    gain: float = 1.0,
    threshold: float = 1.0,
    v_reset: float = 0.0,
    fire: Fire = "above",
    reset: ImmediateReset = "subtract",
    detach_reset: bool = False,
    surrogate: Surrogate = DEFAULT_SURROGATE,
) -> tuple[Float[Tensor, "*neuron"], Float[Tensor, "*neuron"], Float[Tensor, "*neuron"]]:
    r"""Advance adaptive leaky integrate-and-fire neurons by one time step.

    Charge :math:`h = keep\,v + gain\,I`; fire where :math:`h > threshold + strength\cdot a`; reset the membrane; then
    :math:`a \leftarrow keep_a\,a + s`.

    Args:
        current: Input current.
        v: Membrane before the step; rest is 0.
        adaptation: Adaptation ``a`` before the step; 0 where the neuron has long been silent.
        keep: Share of the membrane left after one step, in (0, 1).
        keep_adaptation: Share of the adaptation left after one step, in (0, 1); larger adapts for longer.
        strength: Rise of the threshold by one spike (the paper's *beta*); larger fires less.
        gain: Factor on the current.
        threshold: Threshold of a neuron that has long been silent; also what ``"subtract"`` takes off.
        v_reset: Membrane after a spike, for ``reset="zero"``.
        fire: Whether a membrane exactly at threshold fires.
        reset: What a spike does to the membrane.
        detach_reset: Cut the gradient's path through the reset; the one through the adaptation stays.
        surrogate: Slope of the spike, at the membrane's distance from the raised threshold.

    Returns:
        Spikes, membrane and adaptation after the step.

    Source:
        Bellec et al. 2020, A solution to the learning dilemma for recurrent networks of spiking neurons, Nature
        Communications 11, equations 6 to 9. Differs: no refractory time; the slope is not scaled by the threshold.
    """
    h = keep * v + (current if gain == 1 else gain * current)
    spikes = surrogate(h - (threshold + strength * adaptation), fire=fire)
    fired = spikes.detach() if detach_reset else spikes
    if reset == "subtract":
        h = h - fired * threshold
    elif reset == "zero":
        h = (1 - fired) * h + fired * v_reset
    return spikes, h, keep_adaptation * adaptation + spikes


class AdaptiveLIF(Neuron):
    r"""Adaptive leaky integrate-and-fire neurons: :func:`adaptive_lif_step` over time.

    Args:
        tau_membrane_ms: Membrane time constant; longer remembers longer and fires more.
        tau_adaptation_ms: Time constant of the adaptation; longer remembers spikes longer and fires less.
        dt_ms: Length of one step.
        integration: ``"exact"``, :math:`keep = e^{-dt/\tau}`, or ``"euler"``, :math:`keep = 1 - dt/\tau`.
        strength: Rise of the threshold by one spike; 0 is a plain :class:`~neurocl.neurons.lif.LIF`.
        gain: Factor on the current; ``"leak"`` is 1 - ``keep``.
        threshold: Threshold of a neuron that has long been silent.
        reset: What a spike does to the membrane.
        v_reset: Membrane after a spike, for ``reset="zero"``.
        fire: Whether a membrane exactly at threshold fires.
        detach_reset: Cut the gradient's path through the reset.
        surrogate: Slope of the spike in the backward pass; any differentiable callable of ``v - threshold``.
        kernel: As in :class:`~neurocl.neurons.lif.LIF`.

    Attributes:
        keep: Share of the membrane left after one step.
        keep_adaptation: Share of the adaptation left after one step.

    Raises:
        BadInput: If a time constant is not positive and finite, or the parameters make no neuron.
    """

    def __init__(
        self,
        *,
        tau_membrane_ms: float = 20.0,  # Bellec et al. 2020
        tau_adaptation_ms: float = 200.0,  # Bellec et al. 2020: 200 ms to seconds, by the task's memory
        dt_ms: float = 1.0,
        integration: Integration = "exact",
        strength: float = 0.2,  # five spikes in quick succession double the threshold
        gain: Gain = 1.0,
        threshold: float = 1.0,
        reset: ImmediateReset = "subtract",
        v_reset: float = 0.0,
        fire: Fire = "above",
        detach_reset: bool = False,
        surrogate: AnySurrogate = DEFAULT_SURROGATE,
        kernel: Kernel = "auto",
    ) -> None:
        super().__init__()
        check_firing(
            threshold=threshold, v_reset=v_reset, v_rest=0.0, fire=fire, reset=reset, resets=get_args(ImmediateReset),
            kernel=kernel, eager=True,
        )  # fmt: skip
        self.tau_membrane_ms, self.tau_adaptation_ms, self.dt_ms = tau_membrane_ms, tau_adaptation_ms, dt_ms
        self.keep = keep_of(tau_membrane_ms, dt_ms=dt_ms, integration=integration)
        self.keep_adaptation = keep_of(
            tau_adaptation_ms, dt_ms=dt_ms, integration=integration, name="tau_adaptation_ms"
        )
        self.strength = check_number("strength", strength, at_least=0)
        self.gain = gain_of(gain, keep=self.keep)
        self.threshold, self.v_reset = threshold, v_reset
        self.fire, self.reset, self.detach_reset = fire, reset, detach_reset
        self.surrogate, self.kernel = checked_surrogate(surrogate), kernel

    @classmethod
    def from_keep(
        cls, keep: float, keep_adaptation: float, *, dt_ms: float = 1.0, gain: Gain = 1.0, **options: Any
    ) -> "AdaptiveLIF":
        """Return neurons that keep these shares of membrane and adaptation at every step."""
        check_keep(keep)
        check_keep(keep_adaptation, name="keep_adaptation")
        taus = {"tau_membrane_ms": tau_of(keep, dt_ms=dt_ms), "tau_adaptation_ms": tau_of(keep_adaptation, dt_ms=dt_ms)}
        neuron = cls(dt_ms=dt_ms, gain=gain, **taus, **options)
        neuron.keep, neuron.keep_adaptation = float(keep), float(keep_adaptation)
        neuron.gain = gain_of(gain, keep=keep)
        return neuron

    def initial_state(self, current: Tensor) -> AdaptiveLIFState:
        """Return the membrane at rest, without adaptation."""
        zeros = torch.zeros_like(current, requires_grad=False)
        return AdaptiveLIFState(v=zeros, adaptation=zeros.clone())

    def advance(self, current: Tensor, state: AdaptiveLIFState) -> tuple[Tensor, AdaptiveLIFState]:
        """Return spikes and state after one step."""
        spikes, v, adaptation = adaptive_lif_step(current, state.v, state.adaptation, **self._constants())
        return spikes, AdaptiveLIFState(v=v, adaptation=adaptation)

    def advance_all(
        self, current: Tensor, state: AdaptiveLIFState, time_steps: int | None
    ) -> tuple[Tensor, AdaptiveLIFState]:
        """Return spikes and state after all steps."""
        if self.kernel == "reference" or inside_transform() or inside_compiler():
            return super().advance_all(current, state, time_steps)
        spikes, v, adaptation = adaptive_sequence(
            current, state.v, state.adaptation, time_steps=time_steps, **self._constants()
        )
        return spikes, AdaptiveLIFState(v=v, adaptation=adaptation)

    def _constants(self) -> dict[str, Any]:
        """Everything that :func:`adaptive_lif_step` and the kernel take."""
        names = "keep keep_adaptation strength gain threshold v_reset fire reset detach_reset surrogate"
        return {name: getattr(self, name) for name in names.split()}

    def extra_repr(self) -> str:
        """Return the constants that decide the dynamics."""
        return f"keep={self.keep:g}, keep_adaptation={self.keep_adaptation:g}, strength={self.strength:g}"
