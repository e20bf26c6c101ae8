r"""Surrogate gradients: spikes going forward, the slope of a smooth function going backward.

Every surrogate takes :math:`x = v - threshold`. Forward it is the step function, whatever its parameters; only the
backward pass uses :meth:`slope_at`, the derivative of :meth:`smooth`. Every ``smooth`` is 1/2 at threshold.

A surrogate is a frozen value: hashable, picklable, comparable. :class:`SlopeOf` makes one of any differentiable
callable of ``x``, snnTorch's and SpikingJelly's own surrogates among them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_number

Fire = Literal["above", "at"]
STEEPEST = 1e9  # slopes multiply parameters, squares of them, and the chain rule: float32 has room for all of it


@runtime_checkable
class Surrogate(Protocol):
    """A step function with a gradient of one's choice."""

    def slope_at(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the derivative used going backward; ``x`` is left as it is."""
        ...

    def smooth(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the function whose derivative :meth:`slope_at` is."""
        ...

    def __call__(self, x: Float[Tensor, "*neuron"], *, fire: Fire = "above") -> Float[Tensor, "*neuron"]:
        """Return 1 where ``x > 0`` (``fire="above"``) or ``x >= 0`` (``fire="at"``), and 0 elsewhere."""
        ...


class _Spike(torch.autograd.Function):
    """The step function with the slope for a derivative; without a ``jvp``, which torch.compile cannot trace."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, surrogate: Any, fire: str) -> Tensor:
        return (x > 0 if fire == "above" else x >= 0).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, ctx.surrogate, _ = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grad_outputs[0] * ctx.surrogate.slope_at(x), None, None


class _Step:
    """Turns ``slope_at`` into a spike function; shared by the surrogates below."""

    __slots__ = ()

    def __call__(self, x: Float[Tensor, "*neuron"], *, fire: Fire = "above") -> Float[Tensor, "*neuron"]:
        """Return 1 where ``x > 0`` (``fire="above"``) or ``x >= 0`` (``fire="at"``), and 0 elsewhere.

        Args:
            x: Distance of the membrane from the threshold.
            fire: Whether a membrane exactly at threshold fires.

        Returns:
            Spikes in the dtype of ``x``, with the surrogate's gradient.

        Raises:
            BadInput: If ``x`` is not floating-point or ``fire`` is unknown.
        """
        if fire not in ("above", "at"):
            raise BadInput(f"fire must be 'above' (v > threshold) or 'at' (v >= threshold); got {fire!r}")
        if not x.is_floating_point():
            raise BadInput(f"x must be floating-point; got {x.dtype}: convert it with .float()")
        return _Spike.apply(x, self, fire)


@dataclass(frozen=True)
class ATan(_Step):
    r"""Slope of the arc tangent.

    .. math:: \frac{\alpha / 2}{1 + (\pi \alpha x / 2)^2}
        = \frac{d}{dx} \left[ \frac12 + \frac1\pi \arctan(\pi \alpha x / 2) \right]

    Equal to snnTorch ``surrogate.atan(alpha)`` (its default surrogate) and SpikingJelly ``surrogate.ATan(alpha)``.

    Attributes:
        alpha: Twice the slope at threshold; larger is steeper and narrower.

    Source:
        Fang et al. 2021, Incorporating learnable membrane time constants, ICCV.
    """

    alpha: float = 2.0

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, at_least=1 / STEEPEST, at_most=STEEPEST)

    def slope_at(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the derivative used going backward."""
        # 1 / (2/alpha + x^2 pi^2 alpha/2): one division instead of a product and a division
        return x.square().mul_(math.pi**2 * self.alpha / 2).add_(2 / self.alpha).reciprocal_()

    def smooth(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the function whose derivative :meth:`slope_at` is."""
        return 0.5 + torch.atan(x * (math.pi / 2 * self.alpha)) / math.pi


@dataclass(frozen=True)
class FastSigmoid(_Step):
    r"""Slope :math:`(1 + k |x|)^{-2}` of the fast sigmoid :math:`\frac12 + x / (1 + k |x|)`.

    Equal to snnTorch ``surrogate.fast_sigmoid(slope)``. The slope at threshold is 1 whatever ``k``, so ``smooth`` rises
    by :math:`2/k`, not by 1.

    Attributes:
        slope: The ``k`` of the equation; larger is narrower.

    Source:
        Zenke & Ganguli 2018, SuperSpike, Neural Computation 30, equation 5. Differs: ``x`` is in units of the
        threshold, theirs in mV.
    """

    slope: float = 25.0

    def __post_init__(self) -> None:
        check_number("slope", self.slope, at_least=1 / STEEPEST, at_most=STEEPEST)

    def slope_at(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the derivative used going backward."""
        return x.abs().mul_(self.slope).add_(1).square().reciprocal_()

    def smooth(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the function whose derivative :meth:`slope_at` is."""
        return 0.5 + x / (1 + self.slope * x.abs())


@dataclass(frozen=True)
class Sigmoid(_Step):
    r"""Slope :math:`\alpha\,\sigma(\alpha x)(1 - \sigma(\alpha x))` of the logistic function :math:`\sigma(\alpha x)`.

    Equal to SpikingJelly ``surrogate.Sigmoid(alpha)`` (its default surrogate) and snnTorch
    ``surrogate.sigmoid(slope)``.

    Attributes:
        alpha: Four times the slope at threshold; larger is steeper and narrower.
    """

    alpha: float = 4.0

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, at_least=1 / STEEPEST, at_most=STEEPEST)

    def slope_at(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the derivative used going backward."""
        y = (x * self.alpha).sigmoid()
        return (1 - y).mul(y).mul_(self.alpha)

    def smooth(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the function whose derivative :meth:`slope_at` is."""
        return torch.sigmoid(x * self.alpha)


@dataclass(frozen=True)
class Triangular(_Step):
    r"""Slope :math:`\frac{\gamma}{w} \max(0, 1 - |x| / w)` of a smooth function of two parabolas.

    Equal to SpikingJelly ``surrogate.PiecewiseQuadratic(alpha=1 / width)``, and for ``width=1`` to Norse's ``triangle``
    with ``alpha=dampening``. snnTorch's ``triangular`` is another function: it neither falls off nor is symmetric.

    Attributes:
        width: Distance ``w`` from threshold at which the slope reaches zero; wider reaches more silent neurons.
        dampening: Factor ``gamma`` on the slope; below 1 it tames gradients over many steps.

    Source:
        Esser et al. 2016, PNAS 113; Bellec et al. 2018, NeurIPS (dampening 0.3).
    """

    width: float = 1.0
    dampening: float = 1.0

    def __post_init__(self) -> None:
        check_number("width", self.width, at_least=1 / STEEPEST, at_most=STEEPEST)
        check_number("dampening", self.dampening, at_least=1 / STEEPEST, at_most=STEEPEST)

    def slope_at(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the derivative used going backward."""
        return x.abs().mul_(-self.dampening / self.width**2).add_(self.dampening / self.width).relu_()

    def smooth(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the function whose derivative :meth:`slope_at` is."""
        y = (x / self.width).clamp(-1, 1)
        return 0.5 + self.dampening * (y - 0.5 * y * y.abs())


@dataclass(frozen=True)
class SuperSpike(_Step):
    r"""Slope :math:`\alpha (1 + |x|)^{-2}` of :math:`\frac12 + \alpha x / (1 + |x|)`.

    Equal to SpikingJelly ``surrogate.SuperSpike(alpha)``; with ``alpha=1`` to Norse's default ``super``, whatever the
    ``alpha`` given there, which Norse ignores.

    Attributes:
        alpha: Slope at threshold; scales the gradient, not its width (:class:`FastSigmoid` changes the width).

    Source:
        Zenke & Ganguli 2018, SuperSpike, Neural Computation 30, equation 5 with beta 1 per unit of ``x``.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, at_least=1 / STEEPEST, at_most=STEEPEST)

    def slope_at(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the derivative used going backward."""
        return x.abs().add_(1).square().reciprocal_().mul(self.alpha)

    def smooth(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the function whose derivative :meth:`slope_at` is."""
        return 0.5 + self.alpha * x / (1 + x.abs())


@dataclass(frozen=True)
class StraightThrough(_Step):
    r"""Slope 1 everywhere, of the line :math:`\frac12 + x`.

    Equal to snnTorch ``surrogate.straight_through_estimator()``.

    Source:
        Bengio, Léonard & Courville 2013, Estimating or propagating gradients through stochastic neurons.
    """

    def slope_at(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the derivative used going backward."""
        return torch.ones_like(x)

    def smooth(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the function whose derivative :meth:`slope_at` is."""
        return 0.5 + x


@dataclass(frozen=True)
class SlopeOf(_Step):
    """Slope of somebody else's function, such as ``snntorch.surrogate.atan()`` or SpikingJelly's ``surrogate.Erf()``.

    Only its gradient is taken, by autograd; when a neuron fires stays the business of ``fire``.

    Attributes:
        function: Differentiable callable of ``x``; smooth, or spikes with a gradient of their own.
    """

    function: Callable[[Tensor], Tensor]

    def __post_init__(self) -> None:
        if isinstance(self.function, type) or not callable(self.function):
            raise BadInput(f"surrogate must be a callable of v - threshold such as ATan(); got {self.function!r}")

    def slope_at(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the derivative used going backward."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.function(x).sum(), x)
        return slope.to(x.dtype)

    def smooth(self, x: Float[Tensor, "*neuron"]) -> Float[Tensor, "*neuron"]:
        """Return the function itself, which may be a step."""
        return self.function(x)


SURROGATES: dict[str, type[_Step]] = {
    "atan": ATan,
    "fast-sigmoid": FastSigmoid,
    "sigmoid": Sigmoid,
    "triangular": Triangular,
    "super-spike": SuperSpike,
    "straight-through": StraightThrough,
}
