"""What to record: which populations, variables and neurons, of which phases, how often, how exactly."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from numbers import Integral
from typing import Any, Literal, get_args

import torch
from numpy.typing import NDArray
from torch import Tensor

from neurocl.primitives.annotation import PHASES
from neurocl.primitives.checks import BadInput, check_count, check_name

SENT = ("spikes", "rate", "output")  # what a population sends on, by what it is
OUTPUTS = (*SENT, "lateral")  # what a call shows by itself
Storage = Literal["auto", "raster", "events"]
Precision = Literal["float32", "float16"]
Weights = Literal["none", "values", "changes"]
Neurons = int | Sequence[int] | NDArray[Any] | Tensor | None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a recorder keeps.

    Args:
        variables: ``"spikes"``, ``"rate"`` of rate units, ``"output"`` of other modules; beside these whatever the
            neurons have: ``"voltage"``, ``"current"``, ``"synaptic_current"``, ``"adaptation"``, ``"recovery"``,
            ``"trace"``; ``"lateral"``, what frozen lateral neurons answer to the input of linear layers, and of
            convolutions at every place.
        populations: Patterns of names, as ``"layers.*"``; none means all neurons that the network has.
        neurons: How many, taken evenly over the population, or which; for all variables but outputs, or by variable
            or population. ``None`` means all.
        phases: Of ``"training"``, ``"evaluation"``, ``"replay"``, ``"consolidation"``; passes of which nobody said the
            phase are always recorded.
        every: Of the training and replay passes, one in so many.
        every_sample: Of the evaluated samples, those whose id this divides: the same ones each time.
        spikes: ``"raster"``, a bit for every neuron and step; ``"events"``, 16 bytes a spike, which SONATA readers
            open; ``"auto"`` takes events for a population that begins below one spike in 128 neurons and steps.
        precision: Of analogue variables; SONATA readers open float32 alone.
        weights: Whether snapshots of the weights are kept, as ``"values"``, or as ``"changes"`` since the snapshot
            before.
        every_weights: Training passes between two snapshots; 0 takes them at the ends of tasks alone.
        weight_names: Patterns of parameter names.
        compression: ``"gzip"`` for rasters and weights: 2 to 3 times smaller, at a seventh of the speed.

    Raises:
        BadInput: If something is asked for that cannot be.
    """

    variables: Sequence[str] = SENT
    populations: Sequence[str] = ("*",)
    neurons: Neurons | Mapping[str, Neurons] = None
    phases: Sequence[str] = ("training", "evaluation", "replay")
    every: int = 1
    every_sample: int = 1
    spikes: str = "auto"
    precision: str = "float32"
    weights: str = "none"
    every_weights: int = 0
    weight_names: Sequence[str] = ("*weight*",)
    compression: str = "none"
    named: frozenset[str] = field(init=False, repr=False, default=frozenset())

    def __post_init__(self) -> None:
        for name in ("variables", "populations", "phases", "weight_names"):
            object.__setattr__(self, name, texts(name, getattr(self, name)))
        for phase in self.phases:
            check_name("phase", phase, PHASES)
        check_count("every", self.every)
        check_count("every_sample", self.every_sample)
        check_count("every_weights", self.every_weights, at_least=0)
        check_name("spikes", self.spikes, get_args(Storage))
        check_name("precision", self.precision, get_args(Precision))
        check_name("weights", self.weights, get_args(Weights))
        check_name("compression", self.compression, ("none", "gzip"))
        chosen = self.neurons
        each = {k: numbers(v) for k, v in chosen.items()} if isinstance(chosen, Mapping) else numbers(chosen)
        object.__setattr__(self, "neurons", each)
        object.__setattr__(self, "named", frozenset(name for name in self.populations if not set(name) & set("*?[")))

    @property
    def states(self) -> bool:
        """Whether anything but outputs is asked for."""
        return any(variable not in OUTPUTS for variable in self.variables)

    def wants(self, population: str) -> bool:
        """Whether a population is recorded."""
        return any(fnmatchcase(population, pattern) for pattern in self.populations)

    def wants_weights(self, parameter: str) -> bool:
        """Whether a parameter is recorded."""
        return self.weights != "none" and any(fnmatchcase(parameter, pattern) for pattern in self.weight_names)

    def ids(self, population: str, variable: str, size: int) -> Tensor | None:
        """Return which neurons of a population are recorded, ascending; ``None`` means all.

        Raises:
            BadInput: If there is no such neuron.
        """
        chosen = self.neurons
        if isinstance(chosen, Mapping):
            chosen = chosen.get(population, chosen.get(variable))
        elif variable in OUTPUTS:
            return None
        if chosen is None:
            return None
        if isinstance(chosen, int):
            return None if chosen >= size else torch.linspace(0, size - 1, chosen).round().long()
        ids = torch.tensor(sorted({int(each) for each in chosen}))
        if int(ids[-1]) >= size:
            raise BadInput(
                f"neurons must lie between 0 and {size - 1} in {population}, which has {size}; got {int(ids[-1])}"
            )
        return ids

    def described(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        chosen = self.neurons
        if isinstance(chosen, Mapping):
            chosen = {key: plain(value) for key, value in chosen.items()}
        names = "variables populations phases every every_sample spikes precision weights every_weights weight_names"
        plain_values = {name: plain(getattr(self, name)) for name in [*names.split(), "compression"]}
        return plain_values | {"neurons": chosen if isinstance(chosen, dict) else plain(chosen)}


def texts(name: str, values: Any) -> tuple[str, ...]:
    """Return one text or several as a tuple."""
    found = (values,) if isinstance(values, str) else tuple(values) if isinstance(values, Iterable) else ()
    if not found or not all(isinstance(each, str) and each for each in found):
        raise BadInput(f"{name} must be a text or several, such as {name}=('spikes',); got {values!r}")
    return found


def plain(value: Any) -> Any:
    """Return sequences as lists."""
    return value if value is None or isinstance(value, int | str) else list(value)


def numbers(neurons: Any) -> Neurons:
    """Return neurons as a number of them or a tuple of their numbers; refuse what names none."""
    if neurons is None:
        return None
    found = neurons.tolist() if hasattr(neurons, "tolist") else neurons  # an array or a tensor
    if isinstance(found, Integral) and not isinstance(found, bool):
        return check_count("neurons", int(found))
    each = [*found] if isinstance(found, Iterable) and not isinstance(found, str) else []
    if not each or not all(isinstance(one, Integral) and not isinstance(one, bool) for one in each):
        raise BadInput(f"neurons must be a number of neurons, or their numbers from 0; got {neurons!r}")
    if min(each) < 0:
        raise BadInput(f"neurons must be numbers from 0; got {min(each)}: count from the first neuron")
    return tuple(int(one) for one in each)


def plain_metadata(metadata: Any) -> dict[str, Any]:
    """Return metadata as they can be kept.

    Raises:
        BadInput: If they are no JSON values by name.
    """
    found = {} if metadata is None else metadata
    if not isinstance(found, Mapping):
        raise BadInput(f"metadata must be plain JSON values by name, such as {{'seed': 1}}; got {metadata!r}")
    for name, value in found.items():
        try:
            json.dumps({name: value})
        except (TypeError, ValueError, RecursionError) as error:
            raise BadInput(
                f"metadata must be plain JSON values by name; got {name!r}: {value!r}, {error}: turn it into a number, "
                "text, list or dict of them, as item() and tolist() do"
            ) from None
    return dict(found)


def chosen_selection(selection: Selection | None, choices: dict[str, Any]) -> Selection:
    """Return the selection, or make one from its arguments."""
    if selection is not None:
        if choices:
            raise BadInput(f"give selection or {', '.join(choices)}, not both")
        return selection
    names = [name for name, part in Selection.__dataclass_fields__.items() if part.init]
    for name in choices:
        check_name("argument of Recorder", name, names)
    return Selection(**choices)
