"""The contract of a network over time, and what all networks share: encode, pass through the layers, read out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.networks.coding import MakeNeuron, TrainingMode
from neurocl.networks.encoding import Encoding, Poisson
from neurocl.networks.heads import HEADS, Head, NoHead
from neurocl.networks.layers import HiddenLayer, OnlineState, Read, kept, mean_current
from neurocl.networks.propagation import Feedback
from neurocl.networks.reactivation import check_activity, passing, place_of, sent_again
from neurocl.networks.readout import Count, Membrane, Readout, WeightedRate
from neurocl.networks.signal import LayerActivity, Signal
from neurocl.networks.synapses import Linear
from neurocl.networks.training import check_parts, moments
from neurocl.neurons import Neuron
from neurocl.neurons.observation import tell
from neurocl.primitives.annotation import annotated
from neurocl.primitives.checks import BadInput, check_finite, check_name
from neurocl.primitives.modes import evaluating as evaluating
from neurocl.primitives.tasks import Task, TaskShape

ReadoutName = Literal["count", "membrane", "weighted-rate", "mean"]
HeadName = Literal["single", "expanding", "multi", "none"]
MakeHead = Callable[..., Head]
DEFAULT_READOUTS: dict[TrainingMode, ReadoutName] = {"surrogate": "membrane", "dsr": "weighted-rate", "ottt": "mean"}


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
        feedback: How errors go down through the head, see :mod:`neurocl.networks.propagation`.
        training: How weights get their gradient, see :mod:`neurocl.networks.training`. With ``"dsr"`` a call under
            gradients differentiates rates; with ``"ottt"`` learning goes by :meth:`scores_over_time`.
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
        feedback: Feedback = "transpose",
        training: TrainingMode = "surrogate",
    ) -> None:
        super().__init__()
        self.shape = shape
        neurons = [part for layer in layers for part in layer.modules() if isinstance(part, Neuron)]
        self.training_mode = check_parts(training, neurons, readout)
        self.encoding = encoding
        self.layers = nn.ModuleList(layers)
        self.readout = readout
        make_head = HEADS[check_name("head", head, HEADS)] if isinstance(head, str) else head
        ways = {} if feedback == "transpose" else {"feedback": feedback}
        self.head = make_head(features, num_classes=shape.num_classes, seed=seed, bias=bias, **ways)
        self._exact = False
        self._units: dict[str | int, tuple[int, ...]] = {}  # shapes at cuts, once they were asked for
        self.register_load_state_dict_pre_hook(_freeze_before_loading)

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

    def hidden_features(self, inputs: Tensor, *, last: int = 0, read: str = "spikes") -> Float[Tensor, "batch feature"]:
        """Return hidden layers' activity, averaged over time by the readout's weights, one layer after another.

        In evaluation mode and without gradients; layers of maps are flattened.

        Args:
            inputs: Samples, as for a call.
            last: Number of layers, counted from the head, whose activity is returned; 0 means all.
            read: ``"currents"``: of spiking neurons the plain mean of the current into them, negative ones 0.

        Raises:
            BadInput: If ``last`` is negative or above the number of hidden layers.
        """
        return torch.cat(self.features_by_layer(inputs, last=last, read=read), dim=1)

    def features_by_layer(
        self, inputs: Tensor, *, last: int = 0, read: str = "spikes"
    ) -> list[Float[Tensor, "batch feature"]]:
        """Return what :meth:`hidden_features` puts together, layer by layer."""
        with torch.no_grad(), evaluating(self):
            signal, found = self.encoding.signal(self._checked(inputs)), []
            layers = self._hidden_layers()
            if not 0 <= last <= len(layers):
                raise BadInput(f"last must lie between 0 (all) and {len(layers)}, the hidden layers; got {last}")
            for depth, layer in enumerate(layers):
                entering, signal = signal, layer(signal)
                if not last or depth >= len(layers) - last:
                    found.append(self.read(layer, entering, signal, read=read))
            return found

    def read(
        self, layer: nn.Module, entering: Signal, leaving: Signal, *, read: str = "spikes"
    ) -> Float[Tensor, "batch feature"]:
        """Return what is read of a layer; see :meth:`hidden_features`. Rate units have nothing finer than rates."""
        check_name("what to read", read, get_args(Read))
        if read == "currents" and leaving.spikes_per_unit is not None:
            return mean_current(layer, entering)
        return self.readout.features(leaving)

    def activity_at(self, cut: str | int, inputs: Tensor) -> Float[Tensor, "time batch *unit"]:
        """Return what passes a cut, in evaluation mode and without gradients; layers behind it do not run.

        Args:
            cut: ``"layers.1"``, the output of the second layer, or 1; ``"layers.1.neuron"``, the same before pooling.
            inputs: Samples, as for a call.

        Raises:
            BadInput: If there is no such cut, more than its activity goes on from there, or the inputs do not fit.
        """
        layers = self._hidden_layers()
        place, before_pooling = place_of(cut, layers)
        with torch.no_grad(), evaluating(self):
            signal = self.encoding.signal(self._checked(inputs))
            for layer in layers[:place]:
                signal = layer(signal)
            return passing(layers[place], signal, before_pooling=before_pooling)

    def forward_from(
        self, cut: str | int, activity: Float[Tensor, "time batch *unit"], task_id: int | None = None
    ) -> Float[Tensor, "batch label"]:
        """Return scores as a call does, from activity at a cut; layers before it do not run.

        Neurons behind the cut start from rest; time may be longer or shorter than inputs are.

        Args:
            cut: See :meth:`activity_at`.
            activity: Spikes as 0 and 1, whatever they are worth, or rates.
            task_id: As for a call.

        Raises:
            BadInput: If there is no such cut, or the activity does not fit it.

        Source:
            Gurbuz, Moorman & Dovrolis 2023, SHARP: hidden replay. Differs: activity is over time, membranes from rest.
        """
        return self.readout(self._hidden_from(cut, activity), self.head, task_id)

    def features_from(
        self, cut: str | int, activity: Float[Tensor, "time batch *unit"]
    ) -> Float[Tensor, "batch feature"]:
        """Return :meth:`features` from activity at a cut; see :meth:`forward_from`."""
        return self.readout.features(self._hidden_from(cut, activity))

    def activity(self, inputs: Tensor) -> list[LayerActivity]:
        """Return what every synapse does in evaluation mode, the head last; without gradients."""
        with torch.no_grad(), evaluating(self):
            signal = self.encoding.signal(self._checked(inputs))
            seen: list[LayerActivity] = []
            for index, layer in enumerate(self._hidden_layers()):
                signal, of_layer = layer.observed(f"hidden.{index}", signal)
                seen += of_layer
            if not isinstance(self.head, NoHead):
                seen.append(self._head_activity(signal))
            return seen

    def scores_over_time(
        self, inputs: Tensor, task_id: int | None = None
    ) -> Iterator[tuple[float, Float[Tensor, "batch label"]]]:
        r"""Yield every step's weight in the readout and its scores; the scores' weighted sum is what a call returns.

        The gradient of a step's scores ends at the membranes of the step before; weights pair it with the eligibility
        trace of their input, :math:`a_t = keep\,a_{t-1} + s_t`, the first layer with a constant input as it is. Send
        each step's loss back before asking for the next: nothing then outlives its step but membranes and traces.

        Source:
            Xiao et al. 2022, Online training through time, NeurIPS.
        """
        layers, gain = self._hidden_layers(), self.readout.gain
        signal = self.encoding.signal(self._checked(inputs))
        states: list[OnlineState | None] = [None] * len(layers)
        entering = moments(signal, kept(getattr(layers[0], "neuron", None) if layers else None))
        for share, moment in zip(self.readout.weights(signal.time_steps), entering, strict=True):
            for place, layer in enumerate(layers):
                moment, states[place] = layer.step(moment, states[place])
            read = moment.flat().times(gain)
            columns = self.head.respond(read.values, task_id, spikes=False, **read.learning())
            yield share, self.head.placed(columns, task_id)

    def train(self, mode: bool = True) -> "Network":
        """Put the network into training or evaluation mode; frozen normalisation stays in evaluation."""
        super().train(mode)
        if self.normalisation_frozen:
            for part in self._normalisations():
                part.eval()
        return self

    def freeze_normalisation(self) -> None:
        """Keep statistics, gains and shifts of normalisation, and neurons' thresholds, as they are from now on.

        Normalisation stays in evaluation mode whatever :meth:`train` says, and none of these parameters needs a
        gradient. Part of the state dict: a network that takes this one's state is frozen too.
        """
        if not self.normalisation_frozen:
            self.register_buffer("frozen", torch.tensor(True, device=next(self.parameters()).device))
        for part in self._normalisations():
            part.eval().requires_grad_(False)
        for name, parameter in self.layers.named_parameters():
            if name.endswith("neuron.threshold"):
                parameter.requires_grad_(False)

    @property
    def normalisation_frozen(self) -> bool:
        """Whether :meth:`freeze_normalisation` was called."""
        return "frozen" in self._buffers

    def _normalisations(self) -> list[nn.Module]:
        return [part for part in self.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]

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
        return self._through(self._hidden_layers(), self.encoding.signal(self._checked(inputs)))

    def _hidden_from(self, cut: str | int, activity: Tensor) -> Signal:
        """Return the signal behind the last hidden layer, from activity at a cut."""
        layers = self._hidden_layers()
        place, before_pooling = place_of(cut, layers)
        if cut not in self._units:
            sample = next(self.parameters()).new_zeros(*self._leading(), *self.shape.input_shape)
            with annotated(phase="consolidation"):  # a look at shapes, no sample of anybody's
                self._units[cut] = tuple(self.activity_at(cut, sample).shape[2:])
        check_activity(activity, cut, self._units[cut], finite=self._looks_at(activity))
        activity = activity.to(self._dtype())
        signal = sent_again(layers[place], activity, before_pooling=before_pooling)
        neuron = getattr(layers[place], "neuron", None)
        if neuron is not None and (before_pooling or getattr(layers[place], "pool", None) is None):
            tell(neuron, "replayed", activity, None, True, activity)  # who watches the neurons sees what they sent once
        return self._through(layers[place + 1 :], signal)

    def _through(self, layers: Sequence[HiddenLayer], signal: Signal) -> Signal:
        """Return the signal behind ``layers``."""
        by_rates = self.training_mode == "dsr" and torch.is_grad_enabled()
        for layer in layers:
            signal = layer.by_rates(signal) if by_rates else layer(signal)
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
        if self._looks_at(inputs):
            check_finite("inputs", inputs)
        return inputs

    def _looks_at(self, given: Tensor) -> bool:
        """Whether values are checked; on a GPU that would wait for the device: only evaluation does."""
        return (
            not self._exact and not torch.compiler.is_compiling() and (given.device.type == "cpu" or not self.training)
        )

    def _leading(self) -> tuple[int, ...]:
        """Return the axes of one sample before those of its values."""
        return (1,) if self.shape.time_steps is None else (self.shape.time_steps, 1)

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


def make_readout(
    readout: ReadoutName | Readout | None, neuron: MakeNeuron, *, gain: float, training: TrainingMode = "surrogate"
) -> Readout:
    """Return the readout of that name: ``neuron`` makes the output neurons of ``"count"``, ``gain`` is the others'.

    ``None`` means the training mode's own: the membrane, the weighted rate for DSR, the plain mean for OTTT.
    """
    if isinstance(readout, Readout):
        return readout
    name = DEFAULT_READOUTS[training] if readout is None else readout
    check_name("readout", name, get_args(ReadoutName))
    if name == "count":
        return Count(neuron)
    kinds: dict[str, type[Readout]] = {"membrane": Membrane, "weighted-rate": WeightedRate, "mean": Readout}
    return kinds[name](gain=gain)


def _freeze_before_loading(network: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Freeze normalisation where the state says so, before ``nn.Module`` looks for the flag."""
    if not isinstance(network, Network):
        return
    if f"{prefix}frozen" in state_dict:
        network.freeze_normalisation()
    elif network.normalisation_frozen:
        state_dict[f"{prefix}frozen"] = torch.tensor(True)
