"""Per-sample gradients of linear layers, from what went in and the error that came back."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

TRIED = 3  # samples on which the decomposition is tried
STEPS_IN_PAIRS = 24  # up to here pairs of steps cost less than one gradient a sample, measured at 400 x 400
CLOSE = {"rtol": 1e-3, "atol": 1e-6}  # of a gradient in float32 computed in two orders, relative to its largest value


def all_linear(network: nn.Module) -> bool:
    """Tell whether every parameter that learns is the weight or bias of an ``nn.Linear``."""
    of_linear = {id(p) for module in network.modules() if isinstance(module, nn.Linear) for p in module.parameters()}
    return all(id(p) in of_linear for p in network.parameters() if p.requires_grad)


class LinearGradients:
    """Watches the linear layers of a network while it runs, and squares their per-sample gradients.

    Calls of a layer take ``[B, N]`` or ``[T, B, N]``; a layer may run several times.

    Args:
        network: Its linear layers are watched during :meth:`run` only.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.layers = {  # by the prefix of their parameters' names
            f"{name}." if name else "": module
            for name, module in network.named_modules()
            if isinstance(module, nn.Linear) and module.weight.requires_grad
        }
        self._calls: list[tuple[str, Tensor, Tensor]] = []

    @property
    def values_per_sample(self) -> int:
        """Size of the largest per-sample gradient."""
        return max((layer.weight.numel() for layer in self.layers.values()), default=1)

    def zeros(self) -> dict[str, Tensor]:
        """Return a zero for every parameter that learns."""
        return {name: torch.zeros_like(p) for name, p in self.network.named_parameters() if p.requires_grad}

    def run(self, function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Return ``function(inputs)`` and remember what the layers took and gave."""
        self._calls = []
        hooks = [layer.register_forward_hook(self._watch(name)) for name, layer in self.layers.items()]
        try:
            with torch.enable_grad():
                return function(inputs)
        finally:
            for hook in hooks:
                hook.remove()

    def add_squares(
        self, total: dict[str, Tensor], values: Float[Tensor, " sample"], share: Float[Tensor, " sample"]
    ) -> None:
        """Add to ``total`` the squares of each sample's gradient of its own value, times its share."""
        for name, pre, error in self._errors(values):
            if f"{name}bias" in total:
                total[f"{name}bias"] += share @ error.sum(0).square()
            if len(pre) <= STEPS_IN_PAIRS:
                add_squared_sum(total[f"{name}weight"], error, pre, share)
            else:
                gradient = torch.einsum("tbo,tbi->boi", error, pre)
                total[f"{name}weight"] += torch.einsum("b,boi->oi", share, gradient.square())

    def explain(self, function: Callable[[Tensor], Tensor], inputs: Tensor, axis: int) -> bool:
        """Tell whether gradients put together from the calls are those of autograd, sample by sample."""
        some = inputs.narrow(axis, 0, min(TRIED, inputs.shape[axis]))
        log_p = self.run(function, some)
        learning = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        if not all(pre.ndim == 3 and pre.shape[1] == len(log_p) for _, pre, _ in self._calls) or not learning:
            return False
        together = self.zeros()
        for name, pre, error in self._errors(log_p[:, 0]):
            together[f"{name}weight"][...] = torch.einsum("to,ti->oi", error[:, 0], pre[:, 0])
            if f"{name}bias" in together:
                together[f"{name}bias"][...] = error[:, 0].sum(0)
        alone = self.run(function, some.narrow(axis, 0, 1))[0, 0]
        slopes = torch.autograd.grad(alone, list(learning.values()), allow_unused=True, materialize_grads=True)
        return all(close(together[name], slope) for name, slope in zip(learning, slopes, strict=True))

    def _errors(self, values: Tensor) -> list[tuple[str, Tensor, Tensor]]:
        """Return (layer, pre ``[T, B, I]``, error ``[T, B, O]``) for every layer that the values depend on."""
        outputs = [output for _, _, output in self._calls]
        errors = torch.autograd.grad(values.sum(), outputs, retain_graph=True, allow_unused=True)
        by_layer: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for (name, pre, output), error in zip(self._calls, errors, strict=True):
            if error is not None:
                by_layer.setdefault(name, []).append((pre, error.reshape(-1, *output.shape[-2:])))
        return [
            (name, torch.cat([pre for pre, _ in pairs]), torch.cat([error for _, error in pairs]))
            for name, pairs in by_layer.items()
        ]

    def _watch(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if not output.requires_grad:  # spikes over time, where rates are differentiated instead
                return
            pre = inputs[0].detach()
            self._calls.append((name, pre.unsqueeze(0) if pre.ndim == 2 else pre, output))

        return watch


def add_squared_sum(
    total: Float[Tensor, "post pre"],
    error: Float[Tensor, "time sample post"],
    pre: Float[Tensor, "time sample pre"],
    share: Float[Tensor, " sample"],
) -> None:
    r"""Add :math:`\sum_b w_b (\sum_t e_{bt} a_{bt}^\top)^2` to ``total``, without forming the bracket.

    The square of a sum of outer products is a sum over pairs of steps of outer products of products.
    """
    for step in range(len(pre)):
        left = error[step:] * (error[step] * share.unsqueeze(1))
        left[1:] *= 2
        right = pre[step:] * pre[step]
        total += left.flatten(0, 1).T @ right.flatten(0, 1)
    total.clamp_(min=0)  # pairs may cancel to a rounding error below zero


def close(a: Tensor, b: Tensor) -> bool:
    """Tell whether two gradients are equal to rounding, at the scale of the larger one's largest value."""
    scale = float(b.abs().max()) if b.numel() else 0.0
    return torch.allclose(a, b, rtol=CLOSE["rtol"], atol=CLOSE["atol"] + CLOSE["rtol"] * scale)
