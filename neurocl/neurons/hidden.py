"""Views of a neuron for other people's containers, and the reset of any mix of them.

A neuron's call returns ``(output, state)``. ``nn.Sequential``, snnTorch with ``init_hidden`` and SpikingJelly expect
the output alone; Norse calls step by step and passes the state. One class cannot serve both: Norse decides by the
signature.
"""

from typing import Any

from torch import Tensor, nn

from neurocl.primitives.checks import BadInput, check_name


class CellView(nn.Module):
    """A neuron whose call is one step: ``output, state = cell(current [B, ...], state=None)``.

    Args:
        neuron: A :class:`~neurocl.neurons.neuron.Neuron`, whose step it is; shared, not copied.
    """

    def __init__(self, neuron: nn.Module) -> None:
        super().__init__()
        self.neuron: Any = neuron

    def forward(self, current: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return output and state after one step."""
        return self.neuron.step(current, state)


class HiddenView(nn.Module):
    """A neuron that keeps its state between calls: ``spikes = view(current)``, for ``nn.Sequential``.

    SpikingJelly's ``set_step_mode``, ``reset_net``, ``detach_net`` and monitors, and loops written for snnTorch's
    ``init_hidden``, find the names they look for. The state follows ``.to()``, is no part of ``state_dict`` (see
    :meth:`save_state`), and is detached in copies and pickles.

    Args:
        neuron: A :class:`~neurocl.neurons.neuron.Neuron`, whose state is kept; shared, not copied.
        step_mode: ``"s"``: a call is one step of ``[B, ...]``; ``"m"``: a call is a sequence ``[T, B, ...]``.

    Attributes:
        state: State after the last call; ``None`` at rest.
    """

    def __init__(self, neuron: nn.Module, *, step_mode: str = "s") -> None:
        super().__init__()
        self.neuron: Any = neuron
        self.state: Any = None
        self.step_mode = step_mode

    @property
    def step_mode(self) -> str:
        """``"s"`` or ``"m"``, as in SpikingJelly."""
        return self._step_mode

    @step_mode.setter
    def step_mode(self, value: str) -> None:
        check_name("step_mode", value, ("s", "m"))
        self._step_mode = value

    @property
    def supported_step_mode(self) -> tuple[str, str]:
        """Both, as SpikingJelly asks."""
        return ("s", "m")

    def forward(self, current: Tensor) -> Tensor:
        """Return the output for one step or one sequence, by ``step_mode``; the state moves on."""
        run = self.neuron.step if self._step_mode == "s" else self.neuron
        output, self.state = run(current, self.state)
        return output

    @property
    def v(self) -> Tensor | None:
        """Membrane after the last call; ``None`` at rest, and for units without one."""
        return self.state if isinstance(self.state, Tensor) else getattr(self.state, "v", None)

    @property
    def mem(self) -> Tensor | None:
        """The membrane by snnTorch's name."""
        return self.v

    def reset(self) -> None:
        """Forget the state: the next call starts at rest, with any batch size."""
        self.state = None

    def detach(self) -> None:
        """Cut the state from the graph, for truncated backpropagation through time."""
        self.state = _map(Tensor.detach, self.state)

    def reset_mem(self) -> None:
        """Reset, by snnTorch's name."""
        self.reset()

    def init_leaky(self) -> None:
        """Reset, by snnTorch's older name."""
        self.reset()

    def save_state(self) -> dict[str, Tensor]:
        """Return a detached copy of the state by variable; empty at rest. A single variable is called ``v``."""
        state = _map(lambda value: value.detach().clone(), self.state)
        if state is None:
            return {}
        return {"v": state} if isinstance(state, Tensor) else dict(state._asdict())

    def load_state(self, saved: dict[str, Tensor]) -> None:
        """Take up a state from :meth:`save_state`; an empty one is rest.

        Raises:
            BadInput: If the variables are not this neuron's.
        """
        if not saved:
            return self.reset()
        rest = self.neuron.initial_state(next(iter(saved.values())))
        names = ("v",) if isinstance(rest, Tensor) else getattr(rest, "_fields", ())
        if set(saved) != set(names):
            raise BadInput(
                f"saved state must hold {', '.join(names) or 'nothing'} for {type(self.neuron).__name__}; "
                f"got {', '.join(saved)}"
            )
        values = [saved[name].detach().clone() for name in names]
        self.state = values[0] if isinstance(rest, Tensor) else type(rest)(*values)
        return None

    def extra_repr(self) -> str:
        """Return the step mode."""
        return f"step_mode={self._step_mode!r}"

    def _apply(self, fn: Any, recurse: bool = True) -> "HiddenView":
        """Move the state with the parameters."""
        super()._apply(fn, recurse)
        self.state = _map(fn, self.state)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"state": _map(Tensor.detach, self.state)}


def _map(fn: Any, state: Any) -> Any:
    """Apply ``fn`` to every variable of a state."""
    if state is None or isinstance(state, Tensor):
        return state if state is None else fn(state)
    return type(state)(*(fn(value) for value in state))


def reset(network: nn.Module) -> None:
    """Forget the hidden state of every neuron in ``network``, whatever library it comes from.

    Walks all submodules and resets our hidden views, snnTorch's neurons (each alone, where snnTorch's own reset clears
    every instance in the process and misses nested ones) and SpikingJelly's memory modules. Neurons whose state the
    caller owns, ours and Norse's, have nothing to reset.

    Args:
        network: Any module.

    Raises:
        BadInput: If it is none.
    """
    if not isinstance(network, nn.Module):
        raise BadInput(f"reset takes a torch module; got {type(network).__name__}: give the whole network")
    for module in network.modules():
        origins = {kind.__module__.split(".")[0] for kind in type(module).__mro__}
        forget = None
        if isinstance(module, HiddenView):
            forget = module.reset
        elif "snntorch" in origins:
            forget = getattr(module, "reset_mem", None)
        elif "spikingjelly" in origins:
            forget = getattr(module, "reset", None)
        if callable(forget):
            forget()
