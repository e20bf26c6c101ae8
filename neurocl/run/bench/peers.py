"""The benchmark's network as three other libraries' documentation would have it written.

Every peer runs inputs -> linear -> spikes -> linear -> spikes -> mean over time -> linear, with the weights it is
given. A static input is shown at every step, as their tutorials do. Time loops take ``unbind``, which spares the peers
the quadratic cost of indexing a sequence. Imports stand where they are used: the libraries are optional.
"""

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.neurons import LIF
from neurocl.primitives.surrogates import ATan

SNNTORCH_BETA = 0.9  # membrane left after one step, as in snnTorch's tutorials
NORSE_DT_S = 0.001  # Norse's default step; with its default time constant of 10 ms the membrane keeps 0.9
SPIKINGJELLY_TAU = 2.0  # steps, SpikingJelly's default


class Peer(nn.Module):
    """Contract of a peer: its scores, and what its neurons make of given currents.

    Args:
        linears: Three layers whose weights are copied.
        time_steps: How long a static input is shown.
    """

    def __init__(self, linears: Sequence[nn.Linear], *, time_steps: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList([_copied(linear) for linear in linears])
        self.neurons = nn.ModuleList([self.make_neuron() for _ in range(2)])
        self.time_steps = time_steps

    def make_neuron(self) -> nn.Module:
        """Return one layer's neurons."""
        raise NotImplementedError

    def fresh(self, index: int) -> Any:
        """Return the state at rest of a layer's neurons."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Float[Tensor, "batch label"]:
        """Return scores."""
        return self.linears[2](torch.stack([spikes for _, spikes in self._walk(inputs)]).mean(0))

    def hidden(self, inputs: Tensor) -> list[Tensor]:
        """Return the spikes ``[T, B, N]`` of both hidden layers."""
        return [torch.stack(layer) for layer in zip(*self._walk(inputs), strict=True)]

    def response(self, index: int, currents: Float[Tensor, "time batch neuron"]) -> Float[Tensor, "time batch neuron"]:
        """Return the spikes of one layer's neurons for given currents."""
        state, spikes = self.fresh(index), []
        for current in currents.unbind(0):
            fired, state = self.neurons[index](current, state)
            spikes.append(fired)
        return torch.stack(spikes)

    def _walk(self, inputs: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        """Return both layers' spikes, step by step."""
        (first, second), (state_1, state_2) = self.neurons, (self.fresh(0), self.fresh(1))
        steps = []
        for x in inputs.unbind(0) if inputs.ndim == 3 else [inputs] * self.time_steps:
            spikes_1, state_1 = first(self.linears[0](x), state_1)
            spikes_2, state_2 = second(self.linears[1](spikes_1), state_2)
            steps.append((spikes_1, spikes_2))
        return steps


class SnnTorchPeer(Peer):
    """``snntorch.Leaky`` in the tutorials' loop: reset by subtraction one step late, arc-tangent surrogate."""

    def make_neuron(self) -> nn.Module:
        """Return one layer's neurons."""
        import snntorch
        from snntorch import surrogate

        return snntorch.Leaky(beta=SNNTORCH_BETA, spike_grad=surrogate.atan(alpha=2.0))

    def fresh(self, index: int) -> Any:
        """Return the state at rest of a layer's neurons."""
        neuron: Any = self.neurons[index]
        return neuron.reset_mem()


class NorsePeer(Peer):
    """``norse.torch.LIFBoxCell``, the fastest of its spiking cells, in a loop: reset to zero, super-spike surrogate."""

    def make_neuron(self) -> nn.Module:
        """Return one layer's neurons."""
        from norse.torch import LIFBoxCell

        return LIFBoxCell(dt=NORSE_DT_S)

    def fresh(self, index: int) -> Any:
        """Return the state at rest of a layer's neurons."""
        return None


class SpikingJellyPeer(Peer):
    """``LIFNode`` in multi-step mode, whole sequences at a time: reset to zero, arc-tangent surrogate."""

    def make_neuron(self) -> nn.Module:
        """Return one layer's neurons."""
        from spikingjelly.activation_based import neuron, surrogate

        return neuron.LIFNode(tau=SPIKINGJELLY_TAU, surrogate_function=surrogate.ATan(alpha=2.0), step_mode="m")

    def forward(self, inputs: Tensor) -> Float[Tensor, "batch label"]:
        """Return scores."""
        return self.linears[2](self.hidden(inputs)[1].mean(0))

    def hidden(self, inputs: Tensor) -> list[Tensor]:
        """Return the spikes ``[T, B, N]`` of both hidden layers."""
        sequence = inputs if inputs.ndim == 3 else inputs.expand(self.time_steps, *inputs.shape)
        first = self.response(0, self.linears[0](sequence))
        return [first, self.response(1, self.linears[1](first))]

    def response(self, index: int, currents: Float[Tensor, "time batch neuron"]) -> Float[Tensor, "time batch neuron"]:
        """Return the spikes of one layer's neurons for given currents."""
        from spikingjelly.activation_based import functional

        functional.reset_net(self.neurons[index])
        return self.neurons[index](currents)


PEERS: dict[str, type[Peer]] = {"snntorch": SnnTorchPeer, "norse": NorsePeer, "spikingjelly": SpikingJellyPeer}
PRESETS: dict[str, Callable[..., LIF]] = {
    "snntorch": partial(LIF.like_snntorch, beta=SNNTORCH_BETA),
    "norse": partial(LIF.like_norse, tau_mem_inv=torch.as_tensor(100.0), dt=NORSE_DT_S),
    "spikingjelly": partial(LIF.like_spikingjelly, tau=SPIKINGJELLY_TAU, surrogate=ATan()),
}


def is_installed(library: str) -> bool:
    """Tell whether a peer's library can be imported."""
    return importlib.util.find_spec(library) is not None


def _copied(linear: nn.Linear) -> nn.Linear:
    """Return a plain linear layer with the same weights, whatever kind it is copied from."""
    plain = nn.Linear(linear.in_features, linear.out_features, bias=linear.bias is not None)
    with torch.no_grad():
        plain.weight.copy_(linear.weight)
        if plain.bias is not None and linear.bias is not None:
            plain.bias.copy_(linear.bias)
    return plain
