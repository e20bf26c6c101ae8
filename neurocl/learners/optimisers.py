"""Gradient descent by name: a factory that learners call anew for every task, or once."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn, optim

from neurocl.plasticity import CLASSP
from neurocl.primitives.checks import BadInput, check_name, check_number

OptimiserName = Literal["sgd", "momentum", "adam", "adagrad", "adadelta", "classp"]
Annealing = Literal["constant", "linear", "cosine"]
OPTIMISERS: tuple[str, ...] = get_args(OptimiserName)
MakeOptimiser = Callable[[Iterable[nn.Parameter]], optim.Optimizer]


def make_optimiser(
    name: str, *, learning_rate: float, momentum: float = 0.9, weight_decay: float = 0.0
) -> MakeOptimiser:
    """Return a function from parameters to an optimiser.

    Args:
        name: ``"sgd"``, ``"momentum"`` (heavy ball), ``"adam"`` (betas 0.9 and 0.999, as torch's default),
            ``"adagrad"``, ``"adadelta"``, or ``"classp"`` with its own defaults (:class:`neurocl.plasticity.CLASSP`,
            which takes no weight decay). Adagrad and CLASSP saturate only over tasks that share one optimiser
            (``fresh_optimiser=False``).
        learning_rate: Step size; larger learns and forgets faster.
        momentum: Share of the last step that is kept, for ``"momentum"`` only.
        weight_decay: Added to the gradient times the weight.

    Raises:
        BadInput: For an unknown name or a number out of range.
    """
    check_name("optimiser", name, OPTIMISERS)
    rate = check_number("learning_rate", learning_rate, above=0)
    kept = check_number("momentum", momentum, at_least=0, below=1) if name == "momentum" else 0.0
    decay = check_number("weight_decay", weight_decay, at_least=0)
    if name == "classp":
        if decay:
            raise BadInput("classp takes no weight decay, which would change weights below its threshold; leave it out")
        return lambda parameters: CLASSP(parameters, lr=rate)
    if name == "adagrad":
        return lambda parameters: optim.Adagrad(parameters, lr=rate, weight_decay=decay, fused=True)
    if name == "adadelta":
        return lambda parameters: optim.Adadelta(parameters, lr=rate, weight_decay=decay)
    if name == "adam":
        return lambda parameters: optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True)
    return lambda parameters: optim.SGD(parameters, lr=rate, momentum=kept, weight_decay=decay, fused=True)


def with_names(optimiser: optim.Optimizer, network: nn.Module) -> optim.Optimizer:
    """Tell an optimiser what its parameters are called in ``network``, for its errors; return it."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    for group in optimiser.param_groups:
        if all(parameter in names for parameter in group["params"]):
            group.setdefault("param_names", [names[parameter] for parameter in group["params"]])
    return optimiser


def annealed(name: str, done: float) -> float:
    """Return what is left of the learning rate when the share ``done`` of a task's steps was made.

    ``"constant"``: all of it; ``"linear"``: it falls evenly to 0; ``"cosine"``: by half a period of the cosine.
    """
    left = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 + 0.5 * math.cos(math.pi * done)}
    return max(left[check_name("way to anneal", name, left)], 0.0)


def carry_over(
    old: optim.Optimizer, new: optim.Optimizer, *, old_names: Sequence[str], new_names: Sequence[str]
) -> None:
    """Give ``new`` the memory of ``old``, parameter by parameter name; rows that a head gained start without memory."""
    of_name = dict(zip(old_names, _parameters(old), strict=True))
    for name, parameter in zip(new_names, _parameters(new), strict=True):
        if name not in of_name or of_name[name] not in old.state:
            continue
        before = of_name[name]
        new.state[parameter] = {
            key: _padded(value, parameter) if isinstance(value, Tensor) and value.shape == before.shape else value
            for key, value in old.state[before].items()
        }


def _parameters(optimiser: optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _padded(memory: Tensor, parameter: nn.Parameter) -> Tensor:
    """Return ``memory`` with rows of zeros appended, up to the shape of ``parameter``."""
    rows = len(parameter) - len(memory) if memory.ndim else 0
    return torch.cat([memory, memory.new_zeros(rows, *memory.shape[1:])]) if rows else memory
