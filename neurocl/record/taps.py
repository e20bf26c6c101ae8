"""Taps: what one call of a neuron shows, whichever library the neuron is from.

A tap watches one module and hands a :class:`Sight` of every call to whoever it was given. Known are our neurons, those
of snnTorch, Norse and SpikingJelly, by the classes they derive from and without importing any of these libraries, and
any other module by name, whose output is taken as it is. Longer than others: libraries stand side by side.
"""

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neurocl.neurons import Neuron
from neurocl.neurons.observation import Run, watch
from neurocl.primitives.checks import BadInput, check_name
from neurocl.record.selection import OUTPUTS

STATE_NAMES = {"v": "voltage", "mem": "voltage", "i": "synaptic_current", "syn": "synaptic_current", "u": "recovery"}
STATE_NAMES |= {"b": "adaptation", "a": "adaptation"}  # Norse's adaptive threshold, and adaptive current
OTHER_STATES = ("syn_exc", "syn_inh", "z", "rho")  # known by their own names: snnTorch's; Norse's spikes and rest
VARIABLES = frozenset({*OUTPUTS, *STATE_NAMES.values(), "adaptation", "current", "trace", *OTHER_STATES})
CUT = "its neurons are recorded: compile it without fullgraph=True, or record one that is not compiled"
SNNTORCH_STATES = {1: ("mem",), 2: ("syn", "mem"), 3: ("syn_exc", "syn_inh", "mem")}  # behind the spikes, by number


@dataclass(frozen=True, kw_only=True)
class Sight:
    """One call of one population.

    Attributes:
        output: ``[T, B, *unit]``, or ``[B, *unit]`` of one step.
        timed: Whether there is a time axis.
        spiking: Whether the output is spikes, 0 or 1.
        ours: Whether the population is one of our neurons.
        fresh: Whether the neurons started from rest; ``None`` where that cannot be told.
        name: What the output is, where it is none of spikes, rates of our units, and outputs of other modules.
        others: ``others(ids)`` gives the other variables, ``[T, B, n]`` of the neurons ``ids``, by name.
        given: A state that the call was given from outside, if it was.
        returned: The same state behind the call.
        bits: Whether all of what seem spikes is 0 or 1, on their device, as nobody waits for it; ``None`` if they are.
    """

    output: Tensor
    timed: bool
    spiking: bool
    ours: bool
    fresh: bool | None
    others: Callable[[Tensor | None], dict[str, Tensor]]
    name: str = ""
    given: Tensor | None = None
    returned: Tensor | None = None
    bits: Tensor | None = None

    @property
    def variable(self) -> str:
        """What the output is called in the file."""
        return self.name or ("spikes" if self.spiking else "rate" if self.ours else "output")

    @property
    def sequence(self) -> Tensor:
        """The output with a time axis."""
        return self.output if self.timed else self.output.unsqueeze(0)


Tell = Callable[[Sight], None]


def populations_of(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of a network that hold neurons, by name; a trailing ``.neuron`` is left out."""
    found: dict[str, nn.Module] = {}
    inside: set[int] = set()
    for path, module in network.named_modules():
        if id(module) in inside or kind_of(module) is None:
            continue
        name = uncompiled(path)
        found[name.removesuffix(".neuron") or "network"] = module
        inside.update(id(part) for part in module.modules())
    return found


def uncompiled(name: str) -> str:
    """Return a module's or parameter's name without what ``torch.compile`` adds to it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def check_variables(variables: Sequence[str], modules: Iterable[nn.Module]) -> None:
    """Refuse variables that nothing has; a user's own neurons may have any."""
    if "weights" in variables:
        raise BadInput(
            "variables must be what populations have, such as 'spikes'; got 'weights': ask for them with "
            "weights='values' or weights='changes'"
        )
    if any(isinstance(module, Neuron) and not type(module).__module__.startswith("neurocl.") for module in modules):
        return
    for variable in variables:
        check_name("variable", variable, VARIABLES)


def warn_of_sequences(modules: Mapping[str, nn.Module], variables: Sequence[str]) -> list[str]:
    """Warn of Norse's neurons of whole sequences, whose states over time are not told; return what they lack."""
    lacking = [variable for variable in variables if variable not in (*OUTPUTS, "current")]
    found = {name: type(module) for name, module in modules.items() if kind_of(module) == "norse"}
    for name, kind in found.items() if lacking else ():
        cell = f"{kind.__name__}Cell"
        known = hasattr(sys.modules.get(kind.__module__), cell)
        warnings.warn(
            f"{name} is Norse's {kind.__name__}, which gives its state behind the last step alone: its "
            f"{', '.join(lacking)} cannot be recorded: use {cell if known else 'its cell'}, step by step",
            RuntimeWarning,
            stacklevel=3,
        )
    return lacking if found else []


def check_populations(names: list[str], taken: list[str]) -> None:
    """Refuse names of populations that would be mixed up in the file."""
    for name in names:
        if name in taken:
            raise BadInput(
                f"populations must differ in name between the networks of one recorder; {name} is there already: "
                "detach() the first, or make a recorder for each"
            )
        if name == "weights" or "/" in name or name in (".", ".."):
            raise BadInput(
                f"populations must be modules whose names are no 'weights' and have no '/', which a trace file keeps "
                f"for itself; got {name!r}: rename the module, or name others with populations=[...]"
            )


def kind_of(module: nn.Module) -> str | None:
    """Return which library's neuron a module is, or ``None``."""
    if isinstance(module, Neuron):
        return "neurocl"
    if is_sequence_of_snntorch(module):
        return "snntorch-sequence"
    for kind in type(module).__mro__:
        path = f"{kind.__module__}.{kind.__qualname__}"
        if path.startswith("snntorch._neurons") and kind.__name__ == "SpikingNeuron":
            return "snntorch"
        if path.startswith("norse.torch.module.snn."):
            return "norse-step" if kind.__name__.endswith("Cell") else "norse"
        if path.startswith("spikingjelly.") and kind.__name__ == "BaseNode":
            return "spikingjelly"
    return None


def is_sequence_of_snntorch(module: nn.Module) -> bool:
    """Whether a neuron of snnTorch takes ``[T, B, ...]`` at once: state-space neurons and associative ones."""
    kinds = [kind for kind in type(module).__mro__ if kind.__module__.startswith("snntorch._neurons")]
    return any(kind.__name__ in ("StateLeaky", "AssociativeLeaky") for kind in kinds)


def tap(module: nn.Module, tell: Tell, *, states: bool) -> Callable[[], None]:
    """Watch ``module``; return what ends it.

    Args:
        module: Neurons, or any module whose output is a tensor.
        tell: Called with a :class:`Sight` of every call.
        states: Whether membranes and the like are wanted; SpikingJelly then keeps them over time.
    """
    kind = kind_of(module)
    if kind == "neurocl":
        return watch(module, lambda run: tell(sight_of(run)))
    stored = getattr(module, "store_v_seq", None) if kind == "spikingjelly" and states else None
    if stored is not None:
        module.store_v_seq = True  # type: ignore[assignment]
    spiking = kind is not None and not is_integrator(module)

    @torch.compiler.disable(reason=CUT)
    def hook(called: nn.Module, args: tuple[Any, ...], options: dict[str, Any], output: Any) -> None:
        tell(foreign_sight(called, kind, (*args, *options.values()), output, spiking=spiking))

    watching = module.register_forward_hook(hook, with_kwargs=True)

    def stop() -> None:
        watching.remove()
        if stored is not None:
            module.store_v_seq = stored

    return stop


def is_integrator(module: nn.Module) -> bool:
    """Whether another library's neurons never spike: Norse's leaky integrators, SpikingJelly's non-spiking nodes.

    And neurons of snnTorch that take whole sequences and are to give their membranes alone.
    """
    name = type(module).__name__
    if is_sequence_of_snntorch(module) and not getattr(module, "output", True):
        return True
    return "NonSpiking" in name or (name.startswith("LI") and not name.startswith("LIF"))


def sight_of(run: Run) -> Sight:
    """Return what a run of our neurons shows."""
    return Sight(
        output=run.output.detach(),
        timed=run.kind != "step",
        spiking=bool(run.neuron.spiking),
        ours=True,
        # units without a state begin anew at every call, or never
        fresh=run.fresh if run.before is not None or run.kind != "step" else None,
        others=lambda ids: {} if run.kind == "replayed" else variables_of(run, ids),
    )


@torch.no_grad()
def variables_of(run: Run, ids: Tensor | None) -> dict[str, Tensor]:
    r"""Return current, state and trace of the neurons ``ids`` at every step, ``[T, B, n]`` each.

    Whole-sequence kernels keep no states: the neurons run again, step by step, those asked for alone where all
    neurons of the layer have the same constants. The trace of output s is :math:`a_t = keep\,a_{t-1} + s_t`.
    """
    neuron: Any = run.neuron
    current = run.current.detach() * run.scale if run.scale != 1 else run.current.detach()
    if run.kind == "constant":
        current = current.expand(len(run.output), *current.shape)
    elif run.kind == "step":
        current = current.unsqueeze(0)
    alike = all(part.numel() == 1 for part in [*neuron.parameters(), *neuron.buffers()])
    before = neuron.initial_state(current[0]) if run.before is None else run.before
    if alike:
        current, before = chosen(current, 2, ids), each(lambda part: chosen(part, 1, ids), before)
    recorded: dict[str, list[Tensor]] = {}
    state = before
    if state is not None:
        for now in current.unbind(0):
            _, state = neuron.advance(now, state)
            for name, value in named(state).items():
                recorded.setdefault(name, []).append(value)
    found = {name: torch.stack(values) for name, values in recorded.items()}
    found["current"] = current
    if not alike:
        found = {name: chosen(value, 2, ids) for name, value in found.items()}
    keep = getattr(neuron, "keep", None)
    if keep is not None and run.kind != "step" and (not isinstance(keep, Tensor) or keep.numel() == 1):
        found["trace"] = trace_of(chosen(run.output.detach(), 2, ids), float(keep))
    return found


def trace_of(output: Tensor, keep: float) -> Tensor:
    """Return the eligibility trace of outputs ``[T, ...]``."""
    trace = output.clone()
    for step in range(1, len(trace)):
        trace[step].add_(trace[step - 1], alpha=keep)
    return trace


def named(state: Any) -> dict[str, Tensor]:
    """Return the variables of a neuron's state by the field's standard names."""
    if isinstance(state, Tensor):
        return {"voltage": state}
    found: dict[str, Tensor] = {}
    for field in getattr(state, "_fields", None) or tuple(vars(state)):
        value = getattr(state, field)
        found |= named(value) if hasattr(value, "_fields") else {STATE_NAMES.get(field, field): value}
    return found  # the state of Norse's refractory neurons lies within theirs


def each(change: Callable[[Tensor], Tensor], state: Any) -> Any:
    """Apply ``change`` to every tensor of a state."""
    if state is None or isinstance(state, Tensor):
        return None if state is None else change(state)
    return type(state)(*(change(part) for part in state))


def chosen(values: Tensor, axis: int, ids: Tensor | None) -> Tensor:
    """Return ``values`` with the axes of units taken as one from ``axis`` on, and of these the neurons ``ids``."""
    flat = values.flatten(axis)
    return flat if ids is None else flat.index_select(axis, ids.to(flat.device))


def foreign_sight(module: nn.Module, kind: str | None, args: tuple[Any, ...], output: Any, *, spiking: bool) -> Sight:
    """Return what a call of another library's module shows; what seem spikes are only if all is 0 or 1."""
    parts = output if isinstance(output, tuple | list) else (output,)
    result = parts[0] if parts and isinstance(parts[0], Tensor) else None
    if result is None or result.ndim < 1:
        raise BadInput(
            f"populations must be modules whose output is a tensor [batch, ...]; {type(module).__name__} gives "
            f"{type(output).__name__}: name others"
        )
    timed = kind in ("norse", "snntorch-sequence") or (
        kind == "spikingjelly" and getattr(module, "step_mode", "s") == "m"
    )
    states = {} if kind is None else foreign_states(module, kind, parts, timed)
    given = args[0].detach() if args and isinstance(args[0], Tensor) and kind is not None else None

    def others(ids: Tensor | None) -> dict[str, Tensor]:
        found = dict(states) if given is None or given.shape != result.shape else {"current": given, **states}
        return {
            name: chosen(value if timed else value.unsqueeze(0), 2, ids)
            for name, value in found.items()
            if value.shape == result.shape
        }

    stepped = kind in ("snntorch", "norse-step")
    return Sight(
        output=result.detach(),
        timed=timed,
        spiking=spiking,
        ours=False,
        fresh=None,
        others=others,
        given=last_of(args[1:]) if stepped else None,
        returned=last_of(parts[1:]) if stepped else None,
        bits=((result == 0) | (result == 1)).all() if spiking else None,
    )


def last_of(states: Any) -> Tensor | None:
    """Return the last tensor among states, which may be grouped."""
    if isinstance(states, Tensor):
        return states.detach()
    found = [last_of(each) for each in states] if isinstance(states, tuple | list) else []
    return next((each for each in reversed(found) if each is not None), None)


def foreign_states(module: Any, kind: str, parts: Any, timed: bool) -> dict[str, Tensor]:
    """Return the states that a call of another library's neuron shows, by standard names."""
    if kind == "spikingjelly":
        values = {"voltage": getattr(module, "v_seq", None) if timed else getattr(module, "v", None)}
    elif kind.startswith("snntorch"):
        given = [part[0] if isinstance(part, tuple) else part for part in parts[1:]]  # DeltaLeaky's: now and before
        values = dict(zip(SNNTORCH_STATES.get(len(given), ()), given, strict=False))
        values = values or {name: getattr(module, name, None) for name in ("mem", "syn")}
        values = {STATE_NAMES.get(name, name): value for name, value in values.items()}
    else:  # Norse gives the state after the last step
        values = named(parts[1]) if len(parts) > 1 and not timed and parts[1] is not None else {}
    return {name: value.detach() for name, value in values.items() if isinstance(value, Tensor)}
