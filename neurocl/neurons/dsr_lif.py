"""Leaky integrate-and-fire neurons for differentiation on spike representation (DSR): spikes carry a rate."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.kernels.transforms import inside_compiler, inside_transform
from neurocl.kernels.weighted_rates import rate_response, rate_weights, subtracting_spikes
from neurocl.neurons.firing import DEFAULT_SURROGATE, AnySurrogate, checked_surrogate
from neurocl.neurons.leak import keep_of
from neurocl.neurons.neuron import Neuron
from neurocl.neurons.observation import tell
from neurocl.primitives.checks import check_name, check_number
from neurocl.primitives.surrogates import Surrogate

FLOOR = 0.0005  # of a trainable threshold, as in the paper's code
RATE_SLOPES = ("paper", "exact")


def dsr_lif_step(
    current: Float[Tensor, "*neuron"],
    v: Float[Tensor, "*neuron"],
    *,
    keep: float,
    threshold: float | Tensor,
    fire_at: float,
    surrogate: Surrogate = DEFAULT_SURROGATE,
) -> tuple[Float[Tensor, "*neuron"], Float[Tensor, "*neuron"]]:
    r"""Advance the neurons by one time step.

    Charge :math:`h = keep\,v + (1 - keep)\,I`, fire where :math:`h \ge fire\_at \cdot threshold`, and take the whole
    threshold off: the membrane then lies around 0 and not below the threshold.

    Args:
        current: Input current; the membrane it settles at.
        v: Membrane before the step.
        keep: Share of the membrane left after one step, in (0, 1).
        threshold: What a spike takes off the membrane; larger fires less.
        fire_at: Share of the threshold at which a neuron fires; 0.5 rounds the rate, larger fires later.
        surrogate: Slope of the spike in the backward pass; changes gradients, never spikes.

    Returns:
        Spikes (0 or 1) and the membrane after the step.

    Source:
        Meng et al. 2022, DSR, CVPR. Differs: spikes are 0 or 1; :attr:`DSRLIF.amplitude` is what they carry.
    """
    h = torch.add(current.to(v) * (1 - keep), v, alpha=keep)
    spikes = surrogate(h - fire_at * threshold, fire="at")
    return spikes, h - spikes * threshold


@dataclass(frozen=True, kw_only=True)
class RateResponse:
    """What neurons make of a sequence, seen as rates.

    Attributes:
        spikes: ``[T, B, ...]`` 0 or 1, without gradient.
        rate: ``[B, ...]`` weighted firing rate times the amplitude, without gradient.
        credit: ``[B, ...]`` time mean of spikes times the amplitude, with the derivative of rates by rates.
    """

    spikes: Tensor
    rate: Tensor
    credit: Tensor


class DSRLIF(Neuron):
    r"""Leaky integrate-and-fire neurons whose weighted firing rate is a clipped copy of that of their current.

    A spike carries :attr:`amplitude` = threshold :math:`\tau / dt` into the next layer, so that rates of spikes and of
    currents have one unit: a constant current between 0 and the amplitude comes out as itself, up to the resolution of
    one spike. :func:`dsr_lif_step` is the equation, :meth:`respond` the derivative by which ``training="dsr"`` learns.

    Args:
        tau_membrane_ms: Membrane time constant.
        dt_ms: Length of one step.
        threshold: What a spike takes off; larger means fewer spikes that carry more.
        fire_at: Share of the threshold at which a neuron fires.
        trainable: Whether the threshold is a parameter, one for the layer, not below 0.0005.
        rate_slope: Derivative of rates by rates inside the range: ``"paper"`` has the continuous-time limit, slope 1 up
            to the amplitude; ``"exact"`` that of these very steps, :math:`(1 - keep)\,\tau/dt`, 2.5 % less.
        surrogate: Slope of the spike where the neurons are trained by surrogate gradients after all.

    Attributes:
        keep: Share of the membrane left after one step.
        amplitude: What a spike carries.

    Raises:
        BadInput: If a time constant is not positive and finite, or the threshold is none.

    Source:
        Meng et al. 2022, DSR, CVPR; Xiao et al. 2024, HLOP, ICLR: tau 1, dt 0.05, threshold 0.3, fire_at 0.3, whose
        spikes carry 6. Differs: time in ms, the same ratio.
    """

    def __init__(
        self,
        *,
        tau_membrane_ms: float = 20.0,
        dt_ms: float = 1.0,  # as a share of tau the paper's 0.05
        threshold: float = 0.3,
        fire_at: float = 0.3,
        trainable: bool = False,
        rate_slope: str = "paper",
        surrogate: AnySurrogate = DEFAULT_SURROGATE,
    ) -> None:
        super().__init__()
        self.keep = keep_of(tau_membrane_ms, dt_ms=dt_ms, integration="exact")
        self.dt_ms, self.tau_membrane_ms = dt_ms, tau_membrane_ms
        start = check_number("threshold", threshold, at_least=FLOOR)
        self.fire_at = check_number("fire_at", fire_at, above=0)
        self.threshold = nn.Parameter(torch.tensor(start)) if trainable else start
        self.rate_slope = check_name("rate_slope", rate_slope, RATE_SLOPES)
        self.surrogate = checked_surrogate(surrogate)

    @property
    def amplitude(self) -> float:
        """What a spike carries: threshold times tau / dt."""
        return self._threshold() * self.tau_membrane_ms / self.dt_ms

    def initial_state(self, current: Tensor) -> Tensor:
        """Return the membrane at rest."""
        return torch.zeros_like(current, requires_grad=False)

    def advance(self, current: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return spikes and membrane after one step."""
        threshold = self.threshold
        if isinstance(threshold, Tensor):
            threshold = threshold.clamp(min=FLOOR).to(current.dtype)
        return dsr_lif_step(
            current, state, keep=self.keep, threshold=threshold, fire_at=self.fire_at, surrogate=self.surrogate
        )

    def advance_all(self, current: Tensor, state: Tensor, time_steps: int | None) -> tuple[Tensor, Tensor]:
        """Return spikes and membrane after all steps; without a gradient to keep, in place."""
        learns = isinstance(self.threshold, Tensor) and self.threshold.requires_grad
        wanted = torch.is_grad_enabled() and (current.requires_grad or state.requires_grad or learns)
        if wanted or inside_compiler() or inside_transform():
            return super().advance_all(current, state, time_steps)
        return self._run(current, state, time_steps, 1.0)

    def respond(
        self, current: Tensor, credit: Tensor, *, scale: float = 1.0, time_steps: int | None = None
    ) -> RateResponse:
        r"""Run over a sequence without a graph, and return its rates with a derivative.

        With :math:`\bar I` the weighted rate of the current, the derivative of the outgoing credit by ``credit`` is
        :attr:`rate_slope` where :math:`0 < \bar I <` the largest rate, and 0 elsewhere; that by the threshold is
        :math:`dt/\tau` where :math:`\bar I` is at least the largest rate.

        Args:
            current: ``[T, B, ...]``; ``[B, ...]`` where ``time_steps`` says how often it comes.
            credit: ``[B, ...]`` time mean of the current, with gradient.
            scale: Factor between ``current`` and the current that is meant: the amplitude of the spikes behind it.
            time_steps: Number of steps of a constant current.

        Source:
            Meng et al. 2022. Differs: the threshold's derivative is that of Xiao et al. 2024, :math:`dt/\tau`, where
            the largest rate, :math:`threshold\,\tau/dt`, would suggest its inverse.
        """
        threshold, amplitude = self._threshold(), self.amplitude
        with torch.no_grad():
            drive = current.detach()
            spikes, v = self._run(drive, self.initial_state(credit), time_steps, scale)
            shares = rate_weights(self.keep, len(spikes))
            means = torch.tensor([shares, [1 / len(spikes)] * len(spikes)], dtype=spikes.dtype, device=spikes.device)
            rate, mean = (means @ spikes.flatten(1)).unflatten(1, v.shape).unbind(0)
            if time_steps is None:  # what the membrane and the spikes say of the current, see weighted_rates
                rate_in = (v * shares[-1]).add_(rate, alpha=threshold).div_(1 - self.keep)
            else:
                rate_in = drive * scale
            rate, mean = rate.mul_(amplitude), mean.mul_(amplitude)
        exact = self.rate_slope == "exact"
        outgoing = rate_response(
            credit,
            value=mean,
            rate_in=rate_in,
            slope=(1 - self.keep) * self.tau_membrane_ms / self.dt_ms if exact else 1.0,
            ceiling=threshold / (1 - self.keep) if exact else amplitude,
            threshold=self.threshold if isinstance(self.threshold, Tensor) else None,
            per_threshold=self.dt_ms / self.tau_membrane_ms,
        )
        kind = "sequence" if time_steps is None else "constant"
        tell(self, kind, current, None, True, spikes, scale=scale)
        return RateResponse(spikes=spikes, rate=rate, credit=outgoing)

    def _run(self, current: Tensor, v: Tensor, time_steps: int | None, scale: float) -> tuple[Tensor, Tensor]:
        threshold = self._threshold()
        return subtracting_spikes(
            current, v, keep=self.keep, fire_at=self.fire_at * threshold, threshold=threshold, scale=scale,
            time_steps=time_steps,
        )  # fmt: skip

    def _threshold(self) -> float:
        """Return the threshold as a number, not below the floor."""
        threshold = self.threshold
        return max(float(threshold.detach()) if isinstance(threshold, Tensor) else threshold, FLOOR)

    def extra_repr(self) -> str:
        """Return the constants that decide the dynamics."""
        return f"keep={self.keep:g}, threshold={self._threshold():g}, amplitude={self.amplitude:g}"
