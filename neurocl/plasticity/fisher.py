r"""The diagonal of the Fisher information of a classifier, from the gradient of every single sample.

:math:`F_j = \frac1N \sum_n \sum_c w_{nc} \left(\partial \log p(c \mid x_n) / \partial \theta_j\right)^2`, p the softmax
over a stated set of classes. The kinds differ in the weights w, and in what they mean: ``"exact"`` is the Fisher
information of the model, ``"sampled"`` an unbiased estimate of it, ``"empirical"`` neither (it vanishes where the model
fits its labels). Squaring the gradient of a batch's mean would be something else again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, cast, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from neurocl.plasticity.linear_gradients import LinearGradients, all_linear
from neurocl.primitives.checks import BadInput, check_name

FisherKind = Literal["exact", "empirical", "sampled"]
FISHER_KINDS: tuple[str, ...] = get_args(FisherKind)
VALUES_AT_ONCE = 2**24  # per-sample gradients held at one time: 64 MiB

LogProbabilities = Callable[[Tensor], Float[Tensor, "sample class"]]


def fisher_diagonal(
    network: nn.Module,
    inputs: Tensor,
    *,
    classes: Sequence[int] | None = None,
    kind: str = "exact",
    labels: Int64[Tensor, " sample"] | None = None,
    generator: torch.Generator | None = None,
    task_id: int | None = None,
    sequence: bool = False,
    method: str = "auto",
) -> dict[str, Tensor]:
    r"""Return the Fisher diagonal by parameter name, averaged over the samples, in evaluation mode.

    Where all parameters are weights and biases of ``nn.Linear`` layers whose calls can be watched, gradients of samples
    are never formed for a layer that runs once a sample: the square of an outer product is the outer product of
    squares. Whether that holds is tried on the samples themselves; otherwise ``torch.func`` differentiates sample by
    sample, vectorised. Both ways are exact; spiking neurons contribute their surrogate slopes.

    Args:
        network: ``network(inputs)`` or ``network(inputs, task_id)`` gives scores ``[N, columns]``.
        inputs: ``[N, ...]``, or ``[T, N, ...]`` with ``sequence``.
        classes: Columns that the softmax ranges over; ``None`` means all.
        kind: ``"exact"``: all classes, :math:`w_{nc} = p(c \mid x_n)`. ``"empirical"``: the label alone.
            ``"sampled"``: one class drawn from p for every sample.
        labels: For ``"empirical"``.
        generator: For ``"sampled"``.
        task_id: Handed to the network, if given.
        sequence: Whether time is the first axis of ``inputs``.
        method: ``"general"`` forces ``torch.func``.

    Raises:
        BadInput: If there is no sample, or labels or generator are missing.

    Source:
        Kirkpatrick et al. 2017; the three kinds: van de Ven 2025, "On the computation of the Fisher information in
        continual learning".
    """
    check_name("kind of Fisher information", kind, FISHER_KINDS)
    check_name("method", method, ("auto", "general"))
    axis = 1 if sequence else 0
    if inputs.ndim <= axis or not inputs.shape[axis]:
        raise BadInput(f"Fisher information needs at least one sample; got inputs of shape {list(inputs.shape)}")
    if kind == "empirical" and labels is None:
        raise BadInput("the empirical Fisher information needs labels: give them, or use kind='exact'")
    if kind == "sampled" and generator is None:
        raise BadInput("the sampled Fisher information needs a generator, as randomness is an argument here")

    def log_probabilities(some: Tensor) -> Tensor:
        scores = network(some) if task_id is None else network(some, task_id)
        chosen = scores if classes is None else scores[:, list(classes)]
        return functional.log_softmax(chosen, dim=1)

    def weights(log_p: Tensor, places: slice) -> Tensor:
        if kind == "exact":
            return log_p.exp()
        if kind == "sampled":
            drawn = torch.multinomial(log_p.exp().cpu(), 1, generator=generator).squeeze(1).to(log_p.device)
        else:
            drawn = column_of(cast(Tensor, labels)[places].to(log_p.device), classes)
        return functional.one_hot(drawn, log_p.shape[1]).to(log_p)

    with evaluated(network):
        if method == "auto" and all_linear(network):
            with dense_products(network):
                watched = LinearGradients(network)
                if watched.explain(log_probabilities, inputs, axis):
                    return _by_layer(watched, log_probabilities, weights, inputs, axis)
        with plain_autograd(network):
            return _by_sample(network, log_probabilities, weights, inputs, axis)


def column_of(labels: Int64[Tensor, " sample"], classes: Sequence[int] | None) -> Int64[Tensor, " sample"]:
    """Return the place of every label among ``classes``."""
    if classes is None:
        return labels
    places = {label: place for place, label in enumerate(classes)}
    strange = sorted(set(labels.unique().tolist()) - set(places))
    if strange:
        raise BadInput(f"labels must be among the classes {list(classes)}; got {strange}")
    return torch.tensor([places[label] for label in labels.tolist()], device=labels.device)


def _by_layer(
    watched: LinearGradients,
    log_probabilities: LogProbabilities,
    weights: Callable[[Tensor, slice], Tensor],
    inputs: Tensor,
    axis: int,
) -> dict[str, Tensor]:
    """Sum weighted squares of per-sample gradients of linear layers, one backward pass a class and chunk."""
    total = watched.zeros()
    for places in chunks(inputs.shape[axis], VALUES_AT_ONCE // watched.values_per_sample):
        log_p = watched.run(log_probabilities, inputs.narrow(axis, places.start, places.stop - places.start))
        share = weights(log_p.detach(), places)
        for label in range(log_p.shape[1]):
            if share[:, label].any():
                watched.add_squares(total, log_p[:, label], share[:, label])
    return {name: value / inputs.shape[axis] for name, value in total.items()}


def _by_sample(
    network: nn.Module,
    log_probabilities: LogProbabilities,
    weights: Callable[[Tensor, slice], Tensor],
    inputs: Tensor,
    axis: int,
) -> dict[str, Tensor]:
    """Sum weighted squares of per-sample gradients by ``torch.func.vmap(grad)``."""
    learning = {name: value.detach() for name, value in network.named_parameters() if value.requires_grad}
    wrapped = _Wrapped(network, log_probabilities)

    def log_p_of(parameters: Mapping[str, Tensor], sample: Tensor, onto: Tensor) -> Tensor:
        named = {f"network.{name}": value for name, value in parameters.items()}
        return (functional_call(wrapped, named, (sample.unsqueeze(axis),)).squeeze(0) * onto).sum()

    slopes = vmap(grad(log_p_of), in_dims=(None, axis, None))
    total = {name: torch.zeros_like(value) for name, value in learning.items()}
    values = sum(value.numel() for value in learning.values())
    for places in chunks(inputs.shape[axis], VALUES_AT_ONCE // max(1, values)):
        some = inputs.narrow(axis, places.start, places.stop - places.start)
        with torch.no_grad():
            share = weights(log_probabilities(some), places)
        for label in range(share.shape[1]):
            if share[:, label].any():
                onto = functional.one_hot(torch.tensor(label, device=share.device), share.shape[1]).to(share)
                for name, slope in slopes(learning, some, onto).items():
                    total[name] += torch.einsum("n,n...->...", share[:, label], slope.square())
    return {name: value / inputs.shape[axis] for name, value in total.items()}


class _Wrapped(nn.Module):
    """A network and the function that calls it, as one module for ``functional_call``."""

    def __init__(self, network: nn.Module, function: LogProbabilities) -> None:
        super().__init__()
        self.network = network
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


def chunks(samples: int, size: int) -> Iterator[slice]:
    """Yield slices of at most ``size`` (at least 1, at most 512) over ``samples``."""
    size = min(max(1, size), 512)
    for start in range(0, samples, size):
        yield slice(start, min(start + size, samples))


@contextmanager
def evaluated(network: nn.Module) -> Iterator[None]:
    """Put the network into evaluation mode, and every part back into its own afterwards."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def dense_products(network: nn.Module) -> Iterator[None]:
    """Let our linear layers multiply as ``nn.Linear`` does, so that their calls can be watched."""
    products = [(part, part.event_products) for part in network.modules() if hasattr(part, "event_products")]
    try:
        for part, _ in products:
            cast(Any, part).event_products = False
        yield
    finally:
        for part, events in products:
            cast(Any, part).event_products = events


def plain_autograd(network: nn.Module) -> Any:
    """Return the context in which the network runs on operations that ``torch.func`` can differentiate."""
    return cast(Any, network).exact_autograd() if hasattr(network, "exact_autograd") else nullcontext()
