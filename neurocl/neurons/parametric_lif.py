"""Parametric leaky integrate-and-fire neurons: the membrane time constant is learned."""

import math
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.kernels import lif as kernel_lif
from neurocl.kernels.lif_passes import Fire
from neurocl.neurons.firing import (
    DEFAULT_SURROGATE,
    AnySurrogate,
    ImmediateReset,
    Kernel,
    check_firing,
    checked_surrogate,
    fire_and_reset,
)
from neurocl.neurons.leak import Integration, check_keep, keep_of
from neurocl.neurons.neuron import Neuron
from neurocl.primitives.checks import BadInput, check_count, check_name, check_number
from neurocl.primitives.surrogates import Sigmoid
from neurocl.primitives.time_constants import tau_of

Charge = Literal["scaled", "divided", "leak"]
EDGE = 1e-6  # the leak stays this far from 0 and 1, where float32 could no longer tell


def parametric_lif_step(
    current: Float[Tensor, "*neuron"],
    v: Float[Tensor, "*neuron"],
    leak: Tensor,
    *,
    gain: float | Tensor = 1.0,
    v_rest: float = 0.0,
    charge: Charge = "scaled",
    **firing: Any,
) -> tuple[Float[Tensor, "*neuron"], Float[Tensor, "*neuron"]]:
    r"""Advance leaky integrate-and-fire neurons by one time step, with a gradient for their leak.

    The charge is one of ``"scaled"``: :math:`h = (1 - leak)\,v + gain\,I`; ``"divided"``:
    :math:`h = v + (I - (v - v_{rest}))\,leak`; ``"leak"``: :math:`h = v - (v - v_{rest})\,leak + I`, the last two in
    SpikingJelly's order. Then fire and reset.

    Args:
        current: Input current.
        v: Membrane before the step; rest is 0, threshold 1.
        leak: Share of the membrane lost in one step, in (0, 1): one value, or one a neuron.
        gain: Factor on the current, for ``"scaled"``.
        v_rest: Membrane without input, but for ``"scaled"``.
        charge: Order of operations.
        firing: Arguments of :func:`~neurocl.neurons.firing.fire_and_reset`.

    Returns:
        Spikes and membrane after the step.

    Source:
        Fang et al. 2021, Incorporating learnable membrane time constants, ICCV: ``"divided"``.
    """
    excess = v - v_rest if v_rest else v
    if charge == "scaled":
        unit = isinstance(gain, float | int) and gain == 1
        h = (1 - leak) * v + (current if unit else gain * current)
    elif charge == "divided":
        h = v + (current - excess) * leak
    else:
        h = v - excess * leak + current
    return fire_and_reset(h, v, **firing)


class ParametricLIF(Neuron):
    r"""Leaky integrate-and-fire neurons whose membrane time constant is a trainable parameter.

    The parameter is ``raw_leak``, any real number: :math:`leak = \sigma(raw)` and :math:`keep = 1 - leak` stay strictly
    between 0 and 1 whatever the optimiser does.

    Args:
        tau_membrane_ms: Membrane time constant to start from.
        dt_ms: Length of one step.
        integration: How ``tau_membrane_ms`` becomes the initial ``keep``, and back.
        neurons: Number of time constants: 1 is shared by the layer, otherwise the size of the current's last axis; a
            shape such as ``(channels, 1, 1)`` gives one a channel.
        gain: Factor on the current; ``"leak"`` is 1 - ``keep`` and learns with it.
        threshold: Membrane at which a neuron fires.
        reset: What a spike does to the membrane.
        v_reset: Membrane after a spike, for ``reset="zero"``.
        v_rest: Membrane without input, but for ``charge="scaled"``.
        charge: Order of operations; ``"divided"`` has ``gain="leak"`` and ``"leak"`` has ``gain=1``.
        fire: Whether a membrane exactly at threshold fires.
        detach_reset: Cut the gradient's path through the reset.
        surrogate: Slope of the spike in the backward pass; any differentiable callable of ``v - threshold``.
        kernel: As in :class:`~neurocl.neurons.lif.LIF`; the eager kernel knows ``charge="scaled"``.

    Raises:
        BadInput: If a time constant is not positive and finite, or the parameters make no neuron.

    Source:
        Fang et al. 2021, Incorporating learnable membrane time constants, ICCV. Differs: the defaults are those of
        :class:`~neurocl.neurons.lif.LIF`; :meth:`like_spikingjelly` has the paper's.
    """

    def __init__(
        self,
        *,
        tau_membrane_ms: float = 20.0,  # as LIF
        dt_ms: float = 1.0,
        integration: Integration = "exact",
        neurons: int | tuple[int, ...] = 1,
        gain: float | Literal["leak"] = 1.0,
        threshold: float = 1.0,
        reset: ImmediateReset = "subtract",
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
            threshold=threshold, v_reset=v_reset, v_rest=v_rest, fire=fire, kernel=kernel,
            reset=reset, resets=get_args(ImmediateReset), eager=charge == "scaled",
        )  # fmt: skip
        check_name("charge", charge, get_args(Charge))
        _check_gain(gain, charge)
        if charge == "scaled" and v_rest != 0:
            raise BadInput(f"v_rest must be 0 for charge='scaled'; got {v_rest:g}: use charge='divided', gain='leak'")
        keep = keep_of(tau_membrane_ms, dt_ms=dt_ms, integration=integration)
        shape = (neurons,) if isinstance(neurons, int) else tuple(neurons)
        for size in shape:
            check_count("neurons", size)
        self.raw_leak = nn.Parameter(torch.full(() if shape == (1,) else shape, math.log((1 - keep) / keep)))
        self.dt_ms, self.integration, self.gain = dt_ms, integration, gain
        self.charge: Charge = charge
        self.threshold, self.v_reset, self.v_rest = threshold, v_reset, v_rest
        self.fire, self.reset, self.detach_reset = fire, reset, detach_reset
        self.surrogate, self.kernel = checked_surrogate(surrogate), kernel

    @classmethod
    def from_keep(cls, keep: float, *, dt_ms: float = 1.0, **options: Any) -> "ParametricLIF":
        """Return neurons that start by keeping this share of their membrane at every step."""
        return cls(tau_membrane_ms=tau_of(check_keep(keep), dt_ms=dt_ms), dt_ms=dt_ms, **options)

    @classmethod
    def like_spikingjelly(
        cls, *, init_tau: float = 2.0, decay_input: bool = True, v_threshold: float = 1.0,
        v_reset: float | None = 0.0, **options: Any,
    ) -> "ParametricLIF":  # fmt: skip
        """Return neurons with the spikes and membranes of SpikingJelly's ``ParametricLIFNode``, bit for bit in float32.

        ``raw_leak`` is its ``w``. Arguments as in :meth:`neurocl.neurons.lif.LIF.like_spikingjelly`.
        """
        check_number("init_tau", init_tau, above=1)
        rules: dict[str, Any] = {
            "surrogate": Sigmoid(),
            "fire": "at",
            "reset": "subtract" if v_reset is None else "zero",
        }
        neuron = cls(
            tau_membrane_ms=init_tau, integration="euler", charge="divided" if decay_input else "leak",
            gain="leak" if decay_input else 1.0, threshold=v_threshold, v_reset=v_reset or 0.0, v_rest=v_reset or 0.0,
            **(rules | options),
        )  # fmt: skip
        with torch.no_grad():
            neuron.raw_leak.fill_(-math.log(init_tau - 1.0))
        return neuron

    @property
    def leak(self) -> Tensor:
        """Share of the membrane lost in one step, strictly between 0 and 1; carries the gradient."""
        return torch.sigmoid(self.raw_leak).clamp(EDGE, 1 - EDGE)

    @property
    def keep(self) -> Tensor:
        """Share of the membrane left after one step, 1 - :attr:`leak`."""
        return 1 - self.leak

    @property
    def tau_membrane_ms(self) -> Tensor:
        """Membrane time constants as they now are, detached."""
        leak = self.leak.detach()
        return self.dt_ms / leak if self.integration == "euler" else -self.dt_ms / torch.log1p(-leak)

    def initial_state(self, current: Tensor) -> Tensor:
        """Return the membrane at rest."""
        self._check_width(current)
        return torch.full_like(current, self.v_rest, requires_grad=False)

    def advance(self, current: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return spikes and membrane after one step."""
        leak = self.leak.to(current.dtype)
        gain = leak if isinstance(self.gain, str) else self.gain
        return parametric_lif_step(
            current, state, leak, gain=gain, v_rest=self.v_rest, charge=self.charge, **self._firing()
        )

    def advance_all(self, current: Tensor, state: Tensor, time_steps: int | None) -> tuple[Tensor, Tensor]:
        """Return spikes and membrane after all steps."""
        if self.kernel == "reference" or self.charge != "scaled":
            return super().advance_all(current, state, time_steps)
        leak = self.leak.to(current.dtype)
        gain = leak if isinstance(self.gain, str) else self.gain
        return kernel_lif.lif_sequence(
            current, state, keep=1 - leak, gain=gain, time_steps=time_steps, **self._firing()
        )

    def _firing(self) -> dict[str, Any]:
        """Everything that firing and reset take."""
        names = "threshold v_reset fire reset detach_reset surrogate"
        return {name: getattr(self, name) for name in names.split()}

    def _check_width(self, current: Tensor) -> None:
        """Refuse a current on which the time constants do not spread."""
        shape = self.raw_leak.shape
        here = current.shape[1:][-len(shape) :] if shape else shape
        fits = len(here) == len(shape) and all(a in (1, b) for a, b in zip(shape, here, strict=True))
        if not fits:
            raise BadInput(
                f"current must end in axes that fit the neurons' time constants, {list(shape)}; "
                f"got one step of shape {list(current.shape)}"
            )

    def extra_repr(self) -> str:
        """Return the constants that decide the dynamics."""
        return f"keep={self.keep.mean().item():.4g}, neurons={list(self.raw_leak.shape)}, reset={self.reset!r}"


def _check_gain(gain: float | str, charge: Charge) -> None:
    """Refuse a gain that is not the charge's own."""
    if isinstance(gain, str):
        check_name("gain", gain, ("leak",))
    else:
        check_number("gain", gain, above=0)
    if charge == "divided" and gain != "leak":
        raise BadInput(f"gain must be 'leak' for charge='divided'; got {gain!r}")
    if charge == "leak" and gain != 1:
        raise BadInput(f"gain must be 1 for charge='leak'; got {gain!r}")
