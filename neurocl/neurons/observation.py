"""Watching neurons at work: what went in and what came out of every run, for whoever asks.

Watchers stand beside the neurons, not in them: copies, pickles and state dicts of a network know nothing of them.
A compiled graph is cut at neurons while any are watched, and is whole again afterwards. Neurons inside a ``torch.func``
transform or an exported graph are not seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from neurocl.kernels.transforms import inside_compiler, inside_transform


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of neurons.

    Attributes:
        neuron: Whose run it was.
        kind: ``"sequence"`` of currents ``[T, B, ...]``, a ``"constant"`` current ``[B, ...]`` over ``time_steps``,
            one ``"step"`` ``[B, ...]``, or ``"replayed"``: output of an earlier run that is sent again.
        current: The input current.
        scale: Factor between ``current`` and the current that is meant.
        before: The state before the first step; ``None`` for the state at rest.
        fresh: Whether that was the state at rest, because the caller gave none.
        output: Output, with a time axis but for a ``"step"``.
    """

    neuron: nn.Module
    kind: Literal["sequence", "constant", "step", "replayed"]
    current: Tensor
    before: Any
    fresh: bool
    output: Tensor
    scale: float = 1.0


_WATCHERS: WeakKeyDictionary[nn.Module, list[Callable[[Run], object]]] = WeakKeyDictionary()
_WATCHING = False  # whether anything is watched: compiled graphs are guarded by it, and compiled anew when it changes


def watch(neuron: nn.Module, watcher: Callable[[Run], object]) -> Callable[[], None]:
    """Call ``watcher(run)`` after every run of ``neuron``; return what ends it."""
    global _WATCHING
    _WATCHERS.setdefault(neuron, []).append(watcher)
    _WATCHING = True

    def stop() -> None:
        global _WATCHING
        watchers = _WATCHERS.get(neuron, [])
        if watcher in watchers:
            watchers.remove(watcher)
        if not watchers:
            _WATCHERS.pop(neuron, None)
        _WATCHING = bool(_WATCHERS)

    return stop


def tell(neuron: nn.Module, kind: Any, current: Tensor, before: Any, fresh: bool, output: Tensor, **more: Any) -> None:
    """Tell the watchers of ``neuron`` of a run, if there are any."""
    if not _WATCHING:
        return
    if inside_compiler():
        _tell_outside(neuron, kind, current, before, fresh, output, more)
    elif not inside_transform():
        for watcher in list(_WATCHERS.get(neuron, ())):
            watcher(Run(neuron=neuron, kind=kind, current=current, before=before, fresh=fresh, output=output, **more))


@torch.compiler.disable(reason="its neurons are recorded: compile it without fullgraph=True, or record one that is not")
def _tell_outside(
    neuron: nn.Module, kind: Any, current: Tensor, before: Any, fresh: bool, output: Tensor, more: dict[str, Any]
) -> None:
    """Do the same between two compiled graphs; an exported one shows no numbers."""
    if not inside_compiler():
        tell(neuron, kind, current, before, fresh, output, **more)
