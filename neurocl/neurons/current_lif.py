"""Current-based leaky integrate-and-fire neurons: a synapse smears the current before it charges the membrane."""

from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.kernels import lif as kernel_lif
from neurocl.kernels.leak import leaky_sequence
from neurocl.kernels.lif_passes import Fire
from neurocl.kernels.lif_passes import Reset as KernelReset
from neurocl.kernels.reference import run_steps
from neurocl.neurons.firing import (
    DEFAULT_SURROGATE,
    AnySurrogate,
    DelayedReset,
    ImmediateReset,
    Kernel,
    check_firing,
    checked_surrogate,
    fire_and_reset,
)
from neurocl.neurons.leak import (
    Gain,
    Integration,
    check_keep,
    gain_of,
    keep_of,
    norse_rate,
)
from neurocl.neurons.neuron import Neuron
from neurocl.primitives.checks import BadInput, check_name
from neurocl.primitives.surrogates import SuperSpike
from neurocl.primitives.time_constants import tau_of

Charge = Literal["scaled", "euler"]
Reset = ImmediateReset | DelayedReset
RESETS = get_args(ImmediateReset) + get_args(DelayedReset)


class CurrentLIFState(NamedTuple):
    """Membrane and synaptic current."""

    v: Tensor
    i: Tensor


def current_lif_step(
    current: Float[Tensor, "*neuron"],
    v: Float[Tensor, "*neuron"],
    i: Float[Tensor, "*neuron"],
    *,
    keep: float,
    keep_synapse: float,
    gain: float = 1.0,
    v_rest: float = 0.0,
    charge: Charge = "scaled",
    **firing: Any,
) -> tuple[Float[Tensor, "*neuron"], Float[Tensor, "*neuron"], Float[Tensor, "*neuron"]]:
    r"""Advance current-based leaky integrate-and-fire neurons by one time step.

    ``"scaled"``, snnTorch's order: :math:`i \leftarrow keep_{syn}\,i + I`, then :math:`h = keep\,v + gain\,i`.
    ``"euler"``, Norse's: :math:`j = i + I`, :math:`h = v + gain\,((v_{rest} - v) + j)`, and
    :math:`i \leftarrow j - (1 - keep_{syn})\,j`. Then fire and reset.

    Args:
        current: Input to the synapse.
        v: Membrane before the step; rest is 0, threshold 1.
        i: Synaptic current before the step.
        keep: Share of the membrane left after one step, in (0, 1).
        keep_synapse: Share of the synaptic current left after one step, in (0, 1); larger smears input longer.
        gain: Factor on the synaptic current.
        v_rest: Membrane without input, for ``charge="euler"``.
        charge: Order of operations.
        firing: Arguments of :func:`~neurocl.neurons.firing.fire_and_reset`.

    Returns:
        Spikes, membrane and synaptic current after the step.

    Source:
        Gerstner et al. 2014, Neuronal Dynamics, section 1.3 with an exponential synapse. Differs: discrete time, the
        two decays one after the other.
    """
    drive, i = synapse_step(current, i, keep_synapse=keep_synapse, charge=charge)
    h = v + gain * (v_rest - v + drive) if charge == "euler" else keep * v + (drive if gain == 1 else gain * drive)
    spikes, v = fire_and_reset(h, v, **firing)
    return spikes, v, i


def synapse_step(
    current: Float[Tensor, "*neuron"], i: Float[Tensor, "*neuron"], *, keep_synapse: float, charge: Charge = "scaled"
) -> tuple[Float[Tensor, "*neuron"], Float[Tensor, "*neuron"]]:
    """Return what the synapse hands to the membrane in this step, and the synaptic current after it.

    The first half of :func:`current_lif_step`, which states the equations.
    """
    if charge == "euler":
        drive = i + current
        return drive, drive + (keep_synapse - 1) * drive
    i = keep_synapse * i + current
    return i, i


class CurrentLIF(Neuron):
    r"""Current-based leaky integrate-and-fire neurons: :func:`current_lif_step` over time.

    Args:
        tau_membrane_ms: Membrane time constant; longer remembers longer and fires more.
        tau_synapse_ms: Time constant of the synaptic current; longer smears input longer and fires more.
        dt_ms: Length of one step.
        integration: ``"exact"``, :math:`keep = e^{-dt/\tau}`, or ``"euler"``, :math:`keep = 1 - dt/\tau`.
        gain: Factor on the synaptic current; ``"leak"`` is 1 - ``keep``.
        threshold: Membrane at which a neuron fires.
        reset: What a spike does; see :func:`~neurocl.neurons.firing.fire_and_reset`.
        v_reset: Membrane after a spike, for ``reset="zero"``.
        v_rest: Membrane without input, for ``charge="euler"``.
        charge: Order of operations; ``"euler"`` fixes ``gain="leak"``.
        fire: Whether a membrane exactly at threshold fires.
        detach_reset: Cut the gradient's path through the reset.
        surrogate: Slope of the spike in the backward pass; any differentiable callable of ``v - threshold``.
        kernel: As in :class:`~neurocl.neurons.lif.LIF`; the eager kernel needs ``v_rest`` 0.

    Attributes:
        keep: Share of the membrane left after one step.
        keep_synapse: Share of the synaptic current left after one step.

    Raises:
        BadInput: If a time constant is not positive and finite, or the parameters make no neuron.
    """

    def __init__(
        self,
        *,
        tau_membrane_ms: float = 20.0,  # as LIF
        tau_synapse_ms: float = 5.0,  # fast excitatory synapse, order of magnitude
        dt_ms: float = 1.0,
        integration: Integration = "exact",
        gain: Gain = 1.0,
        threshold: float = 1.0,
        reset: Reset = "subtract",
        v_reset: float = 0.0,
        v_rest: float = 0.0,
        charge: Charge = "scaled",
        fire: Fire = "above",
        detach_reset: bool = False,
        surrogate: AnySurrogate = DEFAULT_SURROGATE,
        kernel: Kernel = "auto",
    ) -> None:
        super().__init__()
        check_firing(
            threshold=threshold, v_reset=v_reset, v_rest=v_rest, fire=fire, reset=reset, resets=RESETS, kernel=kernel,
            eager=reset in get_args(KernelReset) and v_rest == 0,
        )  # fmt: skip
        check_name("charge", charge, get_args(Charge))
        if charge == "scaled" and v_rest != 0:
            raise BadInput(f"v_rest must be 0 for charge='scaled'; got {v_rest:g}: use charge='euler' with gain='leak'")
        self.tau_membrane_ms, self.tau_synapse_ms, self.dt_ms = tau_membrane_ms, tau_synapse_ms, dt_ms
        self.keep = keep_of(tau_membrane_ms, dt_ms=dt_ms, integration=integration)
        self.keep_synapse = keep_of(tau_synapse_ms, dt_ms=dt_ms, integration=integration, name="tau_synapse_ms")
        self.gain = gain_of(gain, keep=self.keep, charge=charge)
        self.threshold, self.v_reset, self.v_rest, self.charge = threshold, v_reset, v_rest, charge
        self.fire, self.reset, self.detach_reset = fire, reset, detach_reset
        self.surrogate, self.kernel = checked_surrogate(surrogate), kernel

    @classmethod
    def from_keep(
        cls, keep: float, keep_synapse: float, *, dt_ms: float = 1.0, gain: Gain = 1.0, **options: Any
    ) -> "CurrentLIF":
        """Return neurons that keep these shares of membrane and synaptic current at every step."""
        check_keep(keep)
        check_keep(keep_synapse, name="keep_synapse")
        taus = {"tau_membrane_ms": tau_of(keep, dt_ms=dt_ms), "tau_synapse_ms": tau_of(keep_synapse, dt_ms=dt_ms)}
        neuron = cls(dt_ms=dt_ms, gain=gain, **taus, **options)
        neuron.keep, neuron.keep_synapse = float(keep), float(keep_synapse)
        neuron.gain = gain_of(gain, keep=keep, charge=neuron.charge)
        return neuron

    @classmethod
    def like_snntorch(
        cls, *, alpha: float, beta: float, threshold: float = 1.0, reset_mechanism: str = "subtract",
        reset_delay: bool = True, **options: Any,
    ) -> "CurrentLIF":  # fmt: skip
        """Return neurons with the spikes, currents and membranes of ``snntorch.Synaptic``, bit for bit in float32.

        Its delayed reset to zero clears the charge of the step after a spike, new current included; ``snntorch.Leaky``
        clears the membrane before that charge. Differs: with ``reset_mechanism="zero", reset_delay=False`` a state
        handed in above threshold is charged like any other.
        """
        resets = {
            ("subtract", True): "subtract-delayed", ("zero", True): "zero-delayed-charge", ("none", True): "none",
            ("subtract", False): "subtract-guarded", ("zero", False): "zero", ("none", False): "none",
        }  # fmt: skip
        check_name("reset_mechanism", reset_mechanism, {name for name, _ in resets})
        check_keep(alpha, name="alpha")
        check_keep(beta, name="beta")
        rules: dict[str, Any] = {"detach_reset": reset_delay, "reset": resets[reset_mechanism, reset_delay]} | options
        return cls.from_keep(beta, alpha, threshold=threshold, **rules)

    @classmethod
    def like_norse(
        cls, *, tau_syn_inv: float | Tensor = 200.0, tau_mem_inv: float | Tensor = 100.0, dt: float = 0.001,
        v_th: float = 1.0, v_leak: float = 0.0, v_reset: float = 0.0, **options: Any,
    ) -> "CurrentLIF":  # fmt: skip
        """Return neurons with the spikes, currents and membranes of ``norse.torch.LIFCell``, bit for bit in float32.

        Args:
            tau_syn_inv: Inverse time constant of the synapse in 1/s.
            tau_mem_inv: Inverse time constant of the membrane in 1/s; likewise.
            dt: Step in s.
            v_th: Threshold.
            v_leak: Membrane at rest.
            v_reset: Membrane after a spike.
            options: As for the class.
        """
        gain = norse_rate(torch.as_tensor(tau_mem_inv), dt, "tau_mem_inv")  # its cell makes tensors of floats
        loss = norse_rate(torch.as_tensor(tau_syn_inv), dt, "tau_syn_inv")
        rules: dict[str, Any] = {"surrogate": SuperSpike(), "reset": "zero"} | options
        return cls.from_keep(
            1 - gain, 1 - loss, dt_ms=1000 * dt, gain=gain, charge="euler",
            threshold=v_th, v_rest=v_leak, v_reset=v_reset, **rules,
        )  # fmt: skip

    def initial_state(self, current: Tensor) -> CurrentLIFState:
        """Return the membrane at rest and no synaptic current."""
        zeros = torch.zeros_like(current, requires_grad=False)
        return CurrentLIFState(v=torch.full_like(zeros, self.v_rest), i=zeros)

    def advance(self, current: Tensor, state: CurrentLIFState) -> tuple[Tensor, CurrentLIFState]:
        """Return spikes and state after one step."""
        names = "keep keep_synapse gain v_rest charge threshold v_reset fire reset detach_reset surrogate"
        constants: dict[str, Any] = {name: getattr(self, name) for name in names.split()}
        spikes, v, i = current_lif_step(current, state.v, state.i, **constants)
        return spikes, CurrentLIFState(v=v, i=i)

    def advance_all(
        self, current: Tensor, state: CurrentLIFState, time_steps: int | None
    ) -> tuple[Tensor, CurrentLIFState]:
        """Return spikes and state after all steps: the synapse first, which knows nothing of spikes, then a LIF."""
        if self.kernel == "reference" or self.reset not in get_args(KernelReset) or self.v_rest != 0:
            return super().advance_all(current, state, time_steps)
        drive, i = self._synapse(current, state.i, time_steps)
        names = "keep gain charge threshold v_reset fire reset detach_reset surrogate"
        constants: dict[str, Any] = {name: getattr(self, name) for name in names.split()}
        spikes, v = kernel_lif.lif_sequence(drive, state.v, **constants)
        return spikes, CurrentLIFState(v=v, i=i)

    def _synapse(self, current: Tensor, i: Tensor, time_steps: int | None) -> tuple[Tensor, Tensor]:
        """Return what the synapse hands on at every step, and the synaptic current after the last."""
        if self.charge == "scaled":
            return leaky_sequence(current, i, keep=self.keep_synapse, time_steps=time_steps)
        steps = current if time_steps is None else current.expand(time_steps, *current.shape)
        return run_steps(partial(synapse_step, keep_synapse=self.keep_synapse, charge=self.charge), steps, i)

    def extra_repr(self) -> str:
        """Return the constants that decide the dynamics."""
        return f"keep={self.keep:g}, keep_synapse={self.keep_synapse:g}, gain={self.gain:g}, reset={self.reset!r}"
