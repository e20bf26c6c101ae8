"""The contract of a neuron model, and the checks that every model shares.

Conventions. Axes: time, batch, then neuron (or channel, height, width); a sequence is ``[T, B, ...]``, one step
``[B, ...]``. Voltage: rest 0, threshold 1, unless a preset or :class:`~neurocl.neurons.izhikevich.Izhikevich` says
otherwise. Neurons hold constants and trainable parameters, never a state: the caller owns it, as a tensor where there
is one variable and as a NamedTuple where there are several. :meth:`Neuron.hidden` gives a view that keeps its state,
for ``nn.Sequential``.
"""

from typing import Any

from torch import Tensor, nn

from neurocl.kernels.reference import run_steps
from neurocl.neurons.hidden import CellView, HiddenView
from neurocl.neurons.observation import tell
from neurocl.primitives.checks import BadInput, check_count


class Neuron(nn.Module):
    """A layer of neurons, element by element over currents of any size.

    A model writes :meth:`initial_state` and :meth:`advance`; running over time, constant currents, checks and views
    come with the contract. A model with a whole-sequence kernel also writes :meth:`advance_all`.

    Attributes:
        spiking: Whether outputs are spikes (0 or 1).
        amplitude: What an output of 1 carries into the next layer.
    """

    spiking: bool = True

    @property
    def amplitude(self) -> float:
        """What an output of 1 carries into the next layer."""
        return 1.0

    def forward(self, current: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over a whole sequence.

        Args:
            current: Input current ``[T, B, ...]``.
            state: State before the first step; ``None`` starts at rest.

        Returns:
            Output of every step, ``[T, B, ...]`` in the dtype of the current, and the state after the last.

        Raises:
            BadInput: If the current has no time, batch and neuron axis or is not floating-point, or the state differs
                from one step of it in shape, dtype or device.
        """
        check_current(current, axes="[T, B, neuron, ...]", least=3)
        if current.shape[0] == 0:
            raise BadInput(f"current must have at least one time step; got shape {list(current.shape)}")
        before = self._state_for(current.detach()[0], state)
        output, after = self.advance_all(current, before, None)
        tell(self, "sequence", current, before, state is None, output)
        return output, after

    def step(self, current: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run one step: ``current`` is ``[B, ...]``; the rest as in :meth:`forward`."""
        check_current(current, axes="[B, neuron, ...]", least=2)
        before = self._state_for(current, state)
        output, after = self.advance(current, before)
        tell(self, "step", current, before, state is None, output)
        return output, after

    def constant(self, current: Tensor, time_steps: int, state: Any = None) -> tuple[Tensor, Any]:
        """Run ``time_steps`` steps with the same ``current`` ``[B, ...]`` at each, without repeating it in memory."""
        check_current(current, axes="[B, neuron, ...]", least=2)
        check_count("time_steps", time_steps)
        before = self._state_for(current, state)
        output, after = self.advance_all(current, before, time_steps)
        tell(self, "constant", current, before, state is None, output)
        return output, after

    def initial_state(self, current: Tensor) -> Any:
        """Return the state at rest for one step's ``current`` ``[B, ...]``."""
        raise NotImplementedError(f"{type(self).__name__} must define initial_state(current)")

    def advance(self, current: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return output and state after one step; plain torch operations on checked input."""
        raise NotImplementedError(f"{type(self).__name__} must define advance(current, state)")

    def advance_all(self, current: Tensor, state: Any, time_steps: int | None) -> tuple[Tensor, Any]:
        """Return outputs and state after all steps; where ``time_steps`` is given the current has no time axis."""
        drive = current if time_steps is None else current.expand(time_steps, *current.shape)
        return run_steps(self.advance, drive, state)

    def hidden(self) -> HiddenView:
        """Return a view of this neuron that keeps its state and returns outputs only, for ``nn.Sequential``."""
        return HiddenView(self)

    def cell(self) -> CellView:
        """Return a view of this neuron whose call is one step, for loops and for Norse's ``SequentialState``."""
        return CellView(self)

    def _state_for(self, current: Tensor, state: Any) -> Any:
        """Return ``state`` if it fits one step's current, the state at rest if there is none."""
        rest = self.initial_state(current)
        if state is None or rest is None:
            return rest
        if isinstance(rest, Tensor):
            state = state if isinstance(state, Tensor) else getattr(state, "v", state)
            check_state("state", state, current)
            return state
        kind = type(rest)
        if not isinstance(state, tuple) or len(state) != len(rest):
            raise BadInput(
                f"state must be a {kind.__name__}({', '.join(kind._fields)}), as {type(self).__name__} returns it, "
                f"or None; got {type(state).__name__}"
            )
        for name, value in zip(kind._fields, state, strict=True):
            check_state(f"state.{name}", value, current)
        return kind(*state)


def check_current(current: Tensor, *, axes: str, least: int) -> None:
    """Refuse a current that is no floating-point tensor of at least ``least`` axes."""
    if not isinstance(current, Tensor):
        raise BadInput(f"current must be a tensor {axes}; got {type(current).__name__}")
    if not current.is_floating_point():
        raise BadInput(f"current must be floating-point; got {current.dtype}: convert it with .float()")
    if current.ndim < least:
        raise BadInput(f"current must be {axes}, at least {least} axes; got shape {list(current.shape)}")


def check_state(name: str, value: Any, current: Tensor) -> None:
    """Refuse a state variable that does not lie on the current's grid, in its dtype and on its device."""
    if not isinstance(value, Tensor):
        raise BadInput(f"{name} must be a tensor or None; got {type(value).__name__}")
    if value.shape != current.shape:
        raise BadInput(
            f"{name} must have the shape of one step of the current, {list(current.shape)}; got {list(value.shape)}: "
            "start a new batch with state=None, or reset the hidden view"
        )
    if value.dtype != current.dtype or value.device != current.device:
        raise BadInput(
            f"{name} must be {current.dtype} on {current.device} like the current; got {value.dtype} on {value.device}"
        )
