"""Compile neurons as one graph, in a process without the tests' type checks, which torch.compile cannot trace.

Prints one line a neuron: its name, and whether spikes and gradients are those of the plain call.
"""

import sys

import torch

from neurocl.neurons import DSRLIF, LIF, AdaptiveLIF, CurrentLIF, Integrator, Izhikevich, ParametricLIF, Rate

NEURONS = {
    "LIF": LIF,
    "LIF like snnTorch": lambda: LIF.like_snntorch(beta=0.9, reset_mechanism="zero"),
    "CurrentLIF": CurrentLIF,
    "AdaptiveLIF": AdaptiveLIF,
    "ParametricLIF": lambda: ParametricLIF(neurons=4),
    "DSRLIF": DSRLIF,
    "Izhikevich": Izhikevich,
    "Integrator": Integrator,
    "Rate": Rate,
}


def agrees(make, backend: str) -> bool:
    """Compare compiled and plain call, over a sequence and for a constant current."""
    torch.manual_seed(0)
    neuron = make()
    scale = 20.0 if isinstance(neuron, Izhikevich) else 2.0
    current = (scale * torch.rand(2, 3, 4)).requires_grad_()

    def both(x: torch.Tensor) -> torch.Tensor:
        output, state = neuron(x)
        return torch.cat([output, neuron.constant(x[0], 2, state)[0]])

    found = torch.compile(both, fullgraph=True, backend=backend)(current)
    expected = both(current)
    wanted = [current, *neuron.parameters()]
    weights = torch.randn_like(expected)
    gradients = [torch.autograd.grad((out * weights).sum(), wanted) for out in (found, expected)]
    close = [torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(*gradients, strict=True)]  # other order of sums
    return torch.equal(found, expected) and all(close) and bool((expected != 0).any())


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, make in NEURONS.items():
        torch._dynamo.reset()
        sys.stdout.write(f"{name}: {agrees(make, sys.argv[1])}\n")
