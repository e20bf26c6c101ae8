"""Izhikevich's simple model: two variables, many firing patterns. Units are its own: mV and ms."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.neurons.firing import DEFAULT_SURROGATE, AnySurrogate, Kernel, checked_surrogate
from neurocl.neurons.neuron import Neuron
from neurocl.primitives.checks import check_count, check_name, check_number
from neurocl.primitives.surrogates import Surrogate

# a per ms, b, c in mV, d: Izhikevich 2003, section III
FIRING_PATTERNS: dict[str, tuple[float, float, float, float]] = {
    "regular-spiking": (0.02, 0.2, -65.0, 8.0),
    "intrinsically-bursting": (0.02, 0.2, -55.0, 4.0),
    "chattering": (0.02, 0.2, -50.0, 2.0),
    "fast-spiking": (0.1, 0.2, -65.0, 2.0),
    "low-threshold-spiking": (0.02, 0.25, -65.0, 2.0),
}


class IzhikevichState(NamedTuple):
    """Membrane in mV and recovery variable."""

    v: Tensor
    u: Tensor


def izhikevich_step(
    current: Float[Tensor, "*neuron"],
    v_mv: Float[Tensor, "*neuron"],
    u: Float[Tensor, "*neuron"],
    *,
    a_per_ms: float = 0.02,
    b: float = 0.2,
    c_mv: float = -65.0,
    d: float = 8.0,
    peak_mv: float = 30.0,
    dt_ms: float = 1.0,
    substeps: int = 2,
    detach_reset: bool = False,
    surrogate: Surrogate = DEFAULT_SURROGATE,
) -> tuple[Float[Tensor, "*neuron"], Float[Tensor, "*neuron"], Float[Tensor, "*neuron"]]:
    r"""Advance Izhikevich neurons by one time step of forward Euler.

    .. math::
        \dot v = 0.04 v^2 + 5 v + 140 - u + I, \qquad \dot u = a\,(b v - u),

    and where :math:`v \ge 30` mV the neuron fires: :math:`v \leftarrow c`, :math:`u \leftarrow u + d`.

    Args:
        current: Input current; about 4 makes a regular-spiking neuron fire, 10 is a usual choice.
        v_mv: Membrane before the step, in mV; rests near -70.
        u: Recovery before the step; rests at ``b`` times the membrane.
        a_per_ms: Rate of recovery; larger recovers faster.
        b: Sensitivity of the recovery to the membrane.
        c_mv: Membrane after a spike, in mV; higher makes bursts.
        d: Jump of the recovery at a spike; larger adapts more.
        peak_mv: Membrane at which a spike is cut off, in mV.
        dt_ms: Length of one step, in ms.
        substeps: Euler steps of the membrane in one step; the recovery takes one.
        detach_reset: Cut the gradient's path through the reset.
        surrogate: Slope of the spike at :math:`(v - peak) / (peak - c)`, in units of the distance from reset to peak as
            in the other models.

    Returns:
        Spikes, membrane and recovery after the step.

    Source:
        Izhikevich 2003, Simple model of spiking neurons, IEEE Transactions on Neural Networks 14. Differs: a spike is
        noticed and reset at the end of the step that reaches the peak, not at the start of the next.
    """
    v = v_mv
    for _ in range(substeps):
        v = v + (dt_ms / substeps) * (0.04 * v * v + 5 * v + 140 - u + current)
    u = u + dt_ms * a_per_ms * (b * v - u)
    spikes = surrogate((v - peak_mv) / (peak_mv - c_mv), fire="at")
    fired = spikes.detach() if detach_reset else spikes
    return spikes, (1 - fired) * v + fired * c_mv, u + fired * d


class Izhikevich(Neuron):
    """Izhikevich's simple model: :func:`izhikevich_step` over time. Membranes are in mV, currents in its own unit.

    Args:
        pattern: Which neuron: ``"regular-spiking"``, ``"intrinsically-bursting"``, ``"chattering"``,
            ``"fast-spiking"`` or ``"low-threshold-spiking"``; :meth:`from_parameters` takes any other.
        dt_ms: Length of one step; above 1 ms the membrane overshoots.
        substeps: Euler steps of the membrane in one step; Izhikevich takes 2 in 1 ms.
        detach_reset: Cut the gradient's path through the reset.
        surrogate: Slope of the spike in the backward pass.
        kernel: ``"auto"`` or ``"reference"``.

    Raises:
        BadInput: If the pattern is unknown or a number is out of range.

    Source:
        Izhikevich 2003, Simple model of spiking neurons, IEEE Transactions on Neural Networks 14.
    """

    def __init__(
        self,
        *,
        pattern: str = "regular-spiking",
        dt_ms: float = 1.0,
        substeps: int = 2,
        detach_reset: bool = False,
        surrogate: AnySurrogate = DEFAULT_SURROGATE,
        kernel: Kernel = "auto",
    ) -> None:
        super().__init__()
        check_name("firing pattern", pattern, FIRING_PATTERNS)
        check_name("kernel", kernel, ("auto", "reference"))
        self.a_per_ms, self.b, self.c_mv, self.d = FIRING_PATTERNS[pattern]
        self.peak_mv = 30.0
        self.dt_ms = check_number("dt_ms", dt_ms, above=0, at_most=1)
        self.substeps = check_count("substeps", substeps)
        self.detach_reset, self.surrogate, self.kernel = detach_reset, checked_surrogate(surrogate), kernel

    @classmethod
    def from_parameters(
        cls, *, a_per_ms: float, b: float, c_mv: float, d: float, peak_mv: float = 30.0, **options: Any
    ) -> "Izhikevich":
        """Return neurons with these four parameters of :func:`izhikevich_step`; other options as for the class."""
        neuron = cls(**options)
        neuron.a_per_ms = check_number("a_per_ms", a_per_ms, above=0)
        neuron.b, neuron.d = check_number("b", b), check_number("d", d)
        neuron.peak_mv = check_number("peak_mv", peak_mv)
        neuron.c_mv = check_number("c_mv", c_mv, below=neuron.peak_mv)
        return neuron

    def initial_state(self, current: Tensor) -> IzhikevichState:
        """Return the paper's start: the membrane at -65 mV and the recovery at ``b`` times that."""
        v = torch.full_like(current, -65.0, requires_grad=False)
        return IzhikevichState(v=v, u=self.b * v)

    def advance(self, current: Tensor, state: IzhikevichState) -> tuple[Tensor, IzhikevichState]:
        """Return spikes and state after one step."""
        names = "a_per_ms b c_mv d peak_mv dt_ms substeps detach_reset surrogate"
        constants: dict[str, Any] = {name: getattr(self, name) for name in names.split()}
        spikes, v, u = izhikevich_step(current, state.v, state.u, **constants)
        return spikes, IzhikevichState(v=v, u=u)

    def extra_repr(self) -> str:
        """Return the constants that decide the dynamics."""
        return f"a_per_ms={self.a_per_ms:g}, b={self.b:g}, c_mv={self.c_mv:g}, d={self.d:g}"
