"""Compile kernels as one graph, in a process without the tests' type checks, which torch.compile cannot trace.

Prints one line a kernel: its name, and whether outputs and gradients are those of the plain call.
"""

import sys

import torch

from neurocl.kernels import event_linear, lif_sequence
from neurocl.primitives.surrogates import ATan, FastSigmoid


class Foreign(ATan):
    """A surrogate that the operators do not know: the reference has to serve."""

    def slope_at(self, x: torch.Tensor) -> torch.Tensor:
        """Return a slope of its own."""
        return torch.full_like(x, 0.25)


def noise(*shape: int) -> torch.Tensor:
    """Return a leaf that makes about a third of the neurons fire."""
    return (torch.randn(*shape) * 0.6 + 0.2).requires_grad_()


def with_rule(**rule):
    """Return the kernel with these constants."""
    constants = {"keep": 0.9, "surrogate": ATan()} | rule
    return lambda current, v: lif_sequence(current, v, **constants)


KERNELS = {
    "sequence": (with_rule(gain=0.7), noise(5, 3, 8), noise(3, 8)),
    "delayed reset": (with_rule(reset="subtract-delayed", surrogate=FastSigmoid(3.0)), noise(5, 3, 8), noise(3, 8)),
    "constant current": (with_rule(time_steps=4, reset="zero"), noise(3, 8), noise(3, 8)),
    "trainable keep": (
        lambda current, keep: lif_sequence(current, torch.zeros(3, 8), keep=keep, surrogate=ATan()),
        noise(5, 3, 8),
        torch.full((8,), 0.8, requires_grad=True),
    ),
    "foreign surrogate": (with_rule(surrogate=Foreign()), noise(3, 2, 8), noise(2, 8)),
    "event product": (
        lambda spikes, weight: (event_linear((spikes > 0.5).float(), weight), spikes),
        noise(64, 100, 400),
        noise(200, 400),
    ),
}


def agrees(run, *leaves: torch.Tensor) -> bool:
    """Compare compiled and plain call."""
    found = []
    for go in (torch.compile(run, fullgraph=True, backend=sys.argv[1]), run):
        outputs = go(*leaves)
        found.append([*outputs, *torch.autograd.grad(sum((out * out).sum() for out in outputs), leaves)])
    if not all(grad.abs().max() > 0 for grad in found[1][2:]):
        return False
    return all(torch.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(*found, strict=True))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, (run, *leaves) in KERNELS.items():
        torch.compiler.reset()
        print(f"{name}: {agrees(run, *leaves)}")  # noqa: T201 -- read by the test
