"""Leaky integrate-and-fire neurons: one state variable, the membrane.

:mod:`neurocl.kernels.lif` states the equations, with the orders of floating-point operations called ``charge``.
"""

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.kernels import lif as kernel_lif
from neurocl.kernels.lif_passes import Charge, Fire
from neurocl.kernels.lif_passes import Reset as KernelReset
from neurocl.neurons.firing import (
    DEFAULT_SURROGATE,
    AnySurrogate,
    Kernel,
    check_firing,
    checked_surrogate,
    fire_and_reset,
)
from neurocl.neurons.leak import NORSE_TAU_MEM_INV, Gain, Integration, check_keep, gain_of, keep_of, norse_rate
from neurocl.neurons.neuron import Neuron
from neurocl.primitives.checks import BadInput, check_name, check_number
from neurocl.primitives.surrogates import Sigmoid, SuperSpike, Surrogate
from neurocl.primitives.time_constants import tau_of

Reset = Literal["subtract", "zero", "none", "subtract-delayed", "zero-delayed", "subtract-guarded"]


def lif_step(
    current: Float[Tensor, "*neuron"],
    v: Float[Tensor, "*neuron"],
    *,
    keep: float | Tensor,
    gain: float | Tensor = 1.0,
    threshold: float = 1.0,
    v_reset: float = 0.0,
    v_rest: float = 0.0,
    charge: Charge = "scaled",
    fire: Fire = "above",
    reset: Reset = "subtract",
    detach_reset: bool = False,
    surrogate: Surrogate = DEFAULT_SURROGATE,
) -> tuple[Float[Tensor, "*neuron"], Float[Tensor, "*neuron"]]:
    r"""Advance leaky integrate-and-fire neurons by one time step.

    Charge :math:`h = keep\,v + gain\,I`, fire where :math:`h > threshold`, then reset. With ``keep`` from
    :func:`~neurocl.primitives.time_constants.decay_factor` and ``gain`` = 1 - ``keep`` this solves
    :math:`\tau \dot v = -v + I` exactly for a current held over the step.

    Args:
        current: Input current; with ``gain`` 1 - ``keep``, the membrane it settles at.
        v: Membrane before the step; rest is 0, threshold 1.
        keep: Share of the membrane left after one step, in (0, 1); larger remembers longer.
        gain: Factor on the current; larger drives harder.
        threshold: Membrane at which a neuron fires; larger fires less.
        v_reset: Membrane after a spike, for ``reset="zero"``.
        v_rest: Membrane without input, for every charge but ``"scaled"``.
        charge: Order of floating-point operations of the charge.
        fire: Whether a membrane exactly at threshold fires (``"at"``) or not (``"above"``).
        reset: What a spike does; see :func:`~neurocl.neurons.firing.fire_and_reset`. ``"zero-delayed"`` clears the
            membrane before the charge of the step that follows a spike.
        detach_reset: Cut the gradient's path through the reset.
        surrogate: Slope of the spike in the backward pass; changes gradients, never spikes.

    Returns:
        Spikes (0 or 1) and the membrane after the step; where the reset is delayed, before it.

    Source:
        Gerstner et al. 2014, Neuronal Dynamics, section 1.3. Differs: discrete time, several reset rules.
    """
    charging: dict[str, Any] = {
        "keep": keep, "gain": gain, "v_rest": v_rest, "charge": charge, "threshold": threshold,
        "fire": fire, "surrogate": surrogate,
    }  # fmt: skip
    if reset == "zero-delayed":
        fired = surrogate(v - threshold, fire=fire).detach()  # as in snnTorch, whatever detach_reset says
        return kernel_lif.lif_step(current, (1 - fired) * v, reset="none", **charging)
    if reset == "subtract-guarded":
        _, h = kernel_lif.lif_step(current, v, reset="none", **charging)
        return fire_and_reset(
            h, v, threshold=threshold, fire=fire, reset=reset, detach_reset=detach_reset, surrogate=surrogate
        )
    return kernel_lif.lif_step(current, v, v_reset=v_reset, reset=reset, detach_reset=detach_reset, **charging)


class LIF(Neuron):
    r"""Leaky integrate-and-fire neurons: :func:`lif_step` over time.

    Args:
        tau_membrane_ms: Membrane time constant; longer remembers longer and fires more.
        dt_ms: Length of one step.
        integration: ``"exact"``, :math:`keep = e^{-dt/\tau}`, or ``"euler"``, :math:`keep = 1 - dt/\tau`.
        gain: Factor on the current; ``"leak"`` is 1 - ``keep``: a constant current is then the membrane it settles at.
        threshold: Membrane at which a neuron fires.
        reset: What a spike does to the membrane.
        v_reset: Membrane after a spike, for ``reset="zero"``.
        v_rest: Membrane without input, for every charge but ``"scaled"``.
        charge: Order of floating-point operations; all but ``"scaled"`` fix the gain.
        fire: Whether a membrane exactly at threshold fires.
        detach_reset: Cut the gradient's path through the reset.
        surrogate: Slope of the spike in the backward pass; any differentiable callable of ``v - threshold``.
        kernel: ``"eager"`` runs a whole sequence with a hand-written backward pass, ``"reference"`` loops under
            autograd, ``"auto"`` takes the first wherever it knows the reset.

    Attributes:
        keep: Share of the membrane left after one step.

    Raises:
        BadInput: If a time constant is not positive and finite, or the parameters make no neuron.

    Source:
        Gerstner et al. 2014, Neuronal Dynamics, section 1.3. Differs: discrete time, several reset rules.
    """

    def __init__(
        self,
        *,
        tau_membrane_ms: float = 20.0,  # cortical pyramidal, order of magnitude
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
            threshold=threshold, v_reset=v_reset, v_rest=v_rest, fire=fire, reset=reset, resets=get_args(Reset),
            kernel=kernel, eager=reset in get_args(KernelReset),
        )  # fmt: skip
        check_name("charge", charge, get_args(Charge))
        if charge == "scaled" and v_rest != 0:
            raise BadInput(f"v_rest must be 0 for charge='scaled'; got {v_rest:g}: use charge='euler' with gain='leak'")
        self.tau_membrane_ms, self.dt_ms = tau_membrane_ms, dt_ms
        self.keep = keep_of(tau_membrane_ms, dt_ms=dt_ms, integration=integration)
        self.gain = gain_of(gain, keep=self.keep, charge=charge)
        self.threshold, self.v_reset, self.v_rest, self.charge = threshold, v_reset, v_rest, charge
        self.fire, self.reset, self.detach_reset = fire, reset, detach_reset
        self.surrogate, self.kernel = checked_surrogate(surrogate), kernel

    @classmethod
    def from_keep(cls, keep: float, *, dt_ms: float = 1.0, gain: Gain = 1.0, **options: Any) -> "LIF":
        """Return neurons that keep this share of their membrane at every step; options as for the class."""
        neuron = cls(tau_membrane_ms=tau_of(keep, dt_ms=dt_ms), dt_ms=dt_ms, gain=gain, **options)
        neuron.keep, neuron.gain = float(keep), gain_of(gain, keep=keep, charge=neuron.charge)
        return neuron

    @classmethod
    def like_snntorch(
        cls, *, beta: float, threshold: float = 1.0, reset_mechanism: str = "subtract", reset_delay: bool = True,
        **options: Any,
    ) -> "LIF":  # fmt: skip
        """Return neurons with the spikes and membranes of ``snntorch.Leaky``, bit for bit in float32.

        snnTorch's default takes the threshold off one step late and returns the membrane before that. Differs: with
        ``reset_mechanism="zero", reset_delay=False`` a state handed in above threshold is charged like any other.
        """
        resets = {
            ("subtract", True): "subtract-delayed", ("zero", True): "zero-delayed", ("none", True): "none",
            ("subtract", False): "subtract-guarded", ("zero", False): "zero", ("none", False): "none",
        }  # fmt: skip
        check_name("reset_mechanism", reset_mechanism, {name for name, _ in resets})
        rules: dict[str, Any] = {"detach_reset": reset_delay, "reset": resets[reset_mechanism, reset_delay]} | options
        return cls.from_keep(check_keep(beta, name="beta"), threshold=threshold, **rules)

    @classmethod
    def like_norse(
        cls, *, tau_mem_inv: float | Tensor = NORSE_TAU_MEM_INV, dt: float = 0.001, v_th: float = 1.0,
        v_leak: float = 0.0, v_reset: float = 0.0, reset_method: str = "reset_value", **options: Any,
    ) -> "LIF":  # fmt: skip
        """Return neurons with the spikes and membranes of ``norse.torch.LIFBoxCell``, bit for bit in float32.

        Args:
            tau_mem_inv: Inverse time constant in 1/s; a tensor, as in Norse's parameters, rounds to float32 as there.
            dt: Step in s.
            v_th: Threshold.
            v_leak: Membrane at rest.
            v_reset: Membrane after a spike.
            reset_method: ``"reset_value"`` or ``"reset_subtract"``.
            options: As for the class.
        """
        resets = {"reset_value": "zero", "reset_subtract": "subtract"}
        check_name("reset_method", reset_method, resets)
        gain = norse_rate(tau_mem_inv, dt, "tau_mem_inv")
        rules: dict[str, Any] = {"surrogate": SuperSpike(), "reset": resets[reset_method]} | options
        return cls.from_keep(
            1 - gain, dt_ms=1000 * dt, gain=gain, charge="euler",
            threshold=v_th, v_rest=v_leak, v_reset=v_reset, **rules,
        )  # fmt: skip

    @classmethod
    def like_spikingjelly(
        cls, *, tau: float = 2.0, decay_input: bool = True, v_threshold: float = 1.0, v_reset: float | None = 0.0,
        **options: Any,
    ) -> "LIF":  # fmt: skip
        """Return neurons with the spikes and membranes of SpikingJelly's ``LIFNode``, bit for bit in float32.

        Args:
            tau: Time constant in steps, greater than 1.
            decay_input: Whether the current is divided by ``tau``.
            v_threshold: Threshold; a membrane exactly there fires.
            v_reset: Membrane after a spike, and at rest; ``None`` resets by subtraction, with rest at 0.
            options: As for the class.
        """
        check_number("tau", tau, above=1)
        rules: dict[str, Any] = {
            "surrogate": Sigmoid(),
            "reset": "subtract" if v_reset is None else "zero",
            "fire": "at",
        } | options
        return cls.from_keep(
            1 - 1 / tau, gain=1 / tau if decay_input else 1.0, charge="divided" if decay_input else "leak",
            threshold=v_threshold, v_reset=v_reset or 0.0, v_rest=v_reset or 0.0, **(rules | options),
        )  # fmt: skip

    def initial_state(self, current: Tensor) -> Tensor:
        """Return the membrane at rest."""
        return torch.full_like(current, self.v_rest, requires_grad=False)

    def advance(self, current: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return spikes and membrane after one step."""
        return lif_step(current, state, **self._constants())

    def advance_all(self, current: Tensor, state: Tensor, time_steps: int | None) -> tuple[Tensor, Tensor]:
        """Return spikes and membrane after all steps."""
        if self.kernel == "reference" or self.reset not in get_args(KernelReset):
            return super().advance_all(current, state, time_steps)
        return kernel_lif.lif_sequence(current, state, time_steps=time_steps, **self._constants())

    def _constants(self) -> dict[str, Any]:
        """Everything that :func:`lif_step` and the kernel take."""
        names = "keep gain threshold v_reset v_rest charge fire reset detach_reset surrogate"
        return {name: getattr(self, name) for name in names.split()}

    def extra_repr(self) -> str:
        """Return the constants that decide the dynamics."""
        return f"keep={self.keep:g}, gain={self.gain:g}, threshold={self.threshold:g}, reset={self.reset!r}"
