"""What happens once the membrane is charged: who fires, and what a spike does to the membrane."""

from collections.abc import Callable
from typing import Any, Literal, get_args

from jaxtyping import Float
from torch import Tensor

from neurocl.kernels.lif_passes import Fire
from neurocl.primitives.checks import BadInput, check_name, check_number
from neurocl.primitives.surrogates import ATan, SlopeOf, Surrogate

Kernel = Literal["auto", "reference", "eager"]
ImmediateReset = Literal["subtract", "zero", "none"]
DelayedReset = Literal["subtract-delayed", "subtract-guarded", "zero-delayed-charge"]
AnySurrogate = Surrogate | Callable[[Tensor], Tensor]  # a foreign one gives its slope only
DEFAULT_SURROGATE: Surrogate = ATan()


def fire_and_reset(
    h: Float[Tensor, "*neuron"],
    v: Float[Tensor, "*neuron"],
    *,
    threshold: float = 1.0,
    v_reset: float = 0.0,
    fire: Fire = "above",
    reset: ImmediateReset | DelayedReset = "subtract",
    detach_reset: bool = False,
    surrogate: Surrogate = DEFAULT_SURROGATE,
) -> tuple[Float[Tensor, "*neuron"], Float[Tensor, "*neuron"]]:
    """Return spikes, and the membrane that the state carries to the next step.

    A spike takes the threshold off (``"subtract"``), puts the membrane at ``v_reset`` (``"zero"``), or does nothing
    (``"none"``). The others are snnTorch's, and act on the step after a spike, which the membrane ``v`` remembers:
    ``"subtract-delayed"`` takes the threshold off the new charge, ``"zero-delayed-charge"`` clears it.
    ``"subtract-guarded"`` takes the threshold off at once; where the membrane is still above it, it goes off once more
    before the next spike is decided, and comes back if there is none.

    Args:
        h: Membrane after the charge.
        v: Membrane before the step.
        threshold: Membrane at which a neuron fires.
        v_reset: Membrane after a spike, for ``"zero"``.
        fire: Whether a membrane exactly at threshold fires.
        reset: What a spike does.
        detach_reset: Cut the gradient's path through the reset.
        surrogate: Slope of the spike.
    """
    if reset in get_args(DelayedReset):
        fired = surrogate(v - threshold, fire=fire)
        # guarded and clearing are detached in snnTorch whatever the user asks
        fired = fired.detach() if detach_reset or reset != "subtract-delayed" else fired
        h = h - h * fired if reset == "zero-delayed-charge" else h - fired * threshold
        spikes = surrogate(h - threshold, fire=fire)
        if reset != "subtract-guarded":
            return spikes, h
        return spikes, h - ((spikes.detach() if detach_reset else spikes) - fired) * threshold
    spikes = surrogate(h - threshold, fire=fire)
    fired = spikes.detach() if detach_reset else spikes
    if reset == "subtract":
        return spikes, h - fired * threshold
    return spikes, h if reset == "none" else (1 - fired) * h + fired * v_reset


def checked_surrogate(surrogate: Any) -> Surrogate:
    """Return a surrogate, made of the callable where it is none."""
    return surrogate if hasattr(surrogate, "slope_at") and not isinstance(surrogate, type) else SlopeOf(surrogate)


def check_firing(
    *, threshold: float, v_reset: float, v_rest: float, fire: str, reset: str, resets: tuple[str, ...], kernel: str,
    eager: bool,
) -> None:  # fmt: skip
    """Refuse unknown names, and parameters that make no neuron: a threshold at rest, a reset above threshold.

    ``eager`` says whether there is an eager kernel for what is asked.
    """
    check_number("v_rest", v_rest)
    check_number("threshold", threshold, above=v_rest)
    check_number("v_reset", v_reset, below=threshold)
    check_name("fire rule", fire, get_args(Fire))
    check_name("reset", reset, resets)
    check_name("kernel", kernel, get_args(Kernel))
    if kernel == "eager" and not eager:
        raise BadInput(f"kernel must be 'auto' or 'reference' for these neurons with reset={reset!r}; got 'eager'")
