"""The contract of a network over time, and what all networks share: encode, pass through the layers, read out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.networks.coding import MakeNeuron
from neurocl.networks.encoding import Encoding, Poisson
from neurocl.networks.heads import HEADS, Head
from neurocl.networks.layers import HiddenLayer
from neurocl.networks.readout import Count, Membrane, Readout, WeightedRate
from neurocl.networks.signal import LayerActivity, Signal
from neurocl.networks.synapses import Linear
from neurocl.primitives.checks import BadInput, check_finite, check_name
from neurocl.primitives.tasks import Task, TaskShape

TrainingMode = Literal["surrogate", "ottt", "dsr"]
ReadoutName = Literal["count", "membrane", "weighted-rate"]
HeadName = Literal["single", "expanding", "multi"]
MakeHead = Callable[..., Head]


class Network(nn.Module):
    """Layers over time between an encoding and a head.

    ``network(inputs, task_id)`` gives scores ``[B, labels]``; ``inputs`` is ``[B, *sample]``, or ``[T, B, *sample]``
    where the shape has time steps. Initialisation depends on ``seed`` alone and leaves torch's random state as it was.

    Args:
        shape: What the inputs are.
        layers: Hidden layers, in order.
        features: Number of values the last layer gives at a step.
        encoding: How the input enters.
        readout: How the head's scores come about; see :func:`make_readout`.
        head: ``"single"``, ``"expanding"``, ``"multi"``, or a class of head.
        seed: Source of the head's weights.
        bias: Whether the head's rows have a bias.
        training: How weights get their gradient: ``"surrogate"`` is backpropagation through time with surrogate slopes.
    """

    def __init__(
        self,
        shape: TaskShape,
        *,
        layers: Sequence[HiddenLayer],
        features: int,
        encoding: Encoding,
        readout: Readout,
        head: HeadName | MakeHead,
        seed: int,
        bias: bool = True,
        training: TrainingMode = "surrogate",
    ) -> None:
        super().__init__()
        self.shape = shape
        self.training_mode = check_training(training)
        self.encoding = encoding
        self.layers = nn.ModuleList(layers)
        self.readout = readout
        make_head = HEADS[check_name("head", head, HEADS)] if isinstance(head, str) else head
        self.head = make_head(features, num_classes=shape.num_classes, seed=seed, bias=bias)
        self._exact = False

    def forward(self, inputs: Tensor, task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return scores ``[B, labels]``; labels outside the task hold minus infinity where ``task_id`` names one.

        Raises:
            BadInput: If ``inputs`` has the wrong shape or type, is empty, or holds NaN or infinity.
        """
        return self.readout(self._hidden(inputs), self.head, task_id)

    def predict(self, inputs: Tensor, task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return scores in evaluation mode without gradients; the network is afterwards as it was."""
        with torch.no_grad(), evaluating(self):
            return self(inputs, task_id)

    def features(self, inputs: Tensor) -> Float[Tensor, "batch feature"]:
        """Return the last layer's activity, averaged over time by the readout's weights: firing rates.

        The head multiplies these rates times ``network.readout.gain``.
        """
        return self.readout.features(self._hidden(inputs))

    def activity(self, inputs: Tensor) -> list[LayerActivity]:
        """Return what every synapse does in evaluation mode, the head last; without gradients."""
        with torch.no_grad(), evaluating(self):
            signal = self.encoding.signal(self._checked(inputs))
            seen: list[LayerActivity] = []
            for index, layer in enumerate(self._hidden_layers()):
                signal, of_layer = layer.observed(f"hidden.{index}", signal)
                seen += of_layer
            seen.append(self._head_activity(signal))
            return seen

    def begin_task(self, task: Task) -> None:
        """Make room in the head for the labels of ``task``."""
        self.head.begin_task(task)

    @contextmanager
    def exact_autograd(self) -> Iterator[None]:
        """Within, every operation is plain autograd: reference kernels, dense products, repeatable encoding, no checks.

        For double differentiation, ``torch.func.vmap(grad(functional_call))`` and comparisons. Values and gradients
        are those of the fast path to rounding.
        """
        modules = [*self.modules()]
        kernels = [(module, module.kernel) for module in modules if isinstance(getattr(module, "kernel", None), str)]
        products = [(module, module.event_products) for module in modules if isinstance(module, Linear)]
        encodings = [(module, module.repeatable) for module in modules if isinstance(module, Poisson)]
        try:
            self._exact = True
            for module, _ in kernels:
                vars(module)["kernel"] = "reference"
            for module, _ in products:
                module.event_products = False
            for module, _ in encodings:
                module.repeatable = True
            yield
        finally:
            self._exact = False
            for module, kernel in kernels:
                vars(module)["kernel"] = kernel
            for module, events in products:
                module.event_products = events
            for module, repeatable in encodings:
                module.repeatable = repeatable

    def _hidden(self, inputs: Tensor) -> Signal:
        """Return the signal behind the last hidden layer."""
        signal = self.encoding.signal(self._checked(inputs))
        for layer in self._hidden_layers():
            signal = layer(signal)
        return signal

    def _hidden_layers(self) -> list[HiddenLayer]:
        return [layer for layer in self.layers if isinstance(layer, HiddenLayer)]

    def _head_activity(self, signal: Signal) -> LayerActivity:
        """Return the head's share of the activity: its scores, or the spikes of its output neurons."""
        if isinstance(self.readout, Count):
            post = self.readout.output(signal, self.head)
        else:
            post = self.readout(signal, self.head).unsqueeze(0)
        return LayerActivity(
            name="head",
            synapse=self.head.synapse(),
            pre=signal.values.flatten(2),
            pre_is_spikes=signal.are_spikes,
            post=post,
            pre_spikes_per_unit=signal.spikes_per_unit,
        )

    def _checked(self, inputs: Tensor) -> Tensor:
        """Return ``inputs`` if this network can take them."""
        steps = self.shape.time_steps
        sample = tuple(inputs.shape[1:] if steps is None else inputs.shape[2:])
        leading = ("B",) if steps is None else (str(steps), "B")
        right_time = steps is None or inputs.shape[0] == steps
        if (
            inputs.ndim != len(leading) + len(self.shape.input_shape)
            or sample != self.shape.input_shape
            or not right_time
        ):
            wanted = ", ".join([*leading, *map(str, self.shape.input_shape)])
            raise BadInput(f"inputs must have shape [{wanted}]; got {list(inputs.shape)}")
        if inputs.numel() == 0:
            raise BadInput(f"inputs must hold at least one sample; got shape {list(inputs.shape)}")
        dtype = self._dtype()
        if inputs.dtype != dtype:
            raise BadInput(
                f"inputs must be {dtype} as the weights are; got {inputs.dtype}: convert them, bytes divided by 255"
            )
        # on a GPU the check would wait for the device at every training step: there only evaluation checks
        if not self._exact and not torch.compiler.is_compiling() and (inputs.device.type == "cpu" or not self.training):
            check_finite("inputs", inputs)
        return inputs

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


def check_training(training: str) -> TrainingMode:
    """Return ``training`` if weights can be trained so."""
    check_name("training mode", training, get_args(TrainingMode))
    if training != "surrogate":
        raise BadInput(f"training mode {training!r} is planned and not there yet: use 'surrogate'")
    return "surrogate"


def make_readout(readout: ReadoutName | Readout, neuron: MakeNeuron, *, gain: float) -> Readout:
    """Return the readout of that name: ``neuron`` makes the output neurons of ``"count"``, ``gain`` is the others'."""
    if isinstance(readout, Readout):
        return readout
    check_name("readout", readout, get_args(ReadoutName))
    if readout == "count":
        return Count(neuron)
    return Membrane(gain=gain) if readout == "membrane" else WeightedRate(gain=gain)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put ``module`` into evaluation mode, and every part back into its own mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
