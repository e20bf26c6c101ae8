"""The residual network of the HLOP paper: ResNet-18 with pre-activation, a quarter to a third of the usual width.

Normalisation and neurons stand before each convolution of a block. Told from the neurons' side, each layer here is a
convolution (or two), the current of a shortcut added, and the normalisation and neurons behind: so every layer takes
spikes and sends spikes, and what identity shortcuts add passes beside them, unnormalised.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.kernels.weighted_rates import carried
from neurocl.networks.cnn import READOUTS_OF_HLOP, image_shape
from neurocl.networks.coding import MakeNeuron, TrainingMode, encoding_for, neuron_for, readout_gain_for
from neurocl.networks.encoding import Encoding
from neurocl.networks.layers import (
    HiddenLayer,
    Layer,
    OnlineState,
    Read,
    by_steps,
    check_dsr,
    detached,
    normalised,
    pooled,
    rates_of,
    sent,
    sent_at_once,
    with_credit,
)
from neurocl.networks.network import HeadName, MakeHead, Network, ReadoutName, make_readout
from neurocl.networks.propagation import Feedback
from neurocl.networks.readout import Readout
from neurocl.networks.signal import LayerActivity, Moment, Signal
from neurocl.networks.synapses import Conv2d, feedback_options
from neurocl.networks.training import check_training
from neurocl.neurons import Neuron
from neurocl.primitives.checks import BadInput, check_count, check_name
from neurocl.primitives.seeding import generator, seeded
from neurocl.primitives.tasks import Coding, TaskShape


class ResidualLayer(HiddenLayer):
    r"""Current :math:`c = W_2 f(s_{in}) + c_{in}`, spikes :math:`s = neuron(norm(c))`; f is the first layer of a block.

    A block that changes the shape has :math:`W_s s_{in}` in place of :math:`c_{in}`. The stem of a network is the layer
    that has neither ``first`` nor anything to add: :math:`c = W_2 x`.

    Args:
        synapse: Convolution that the shortcut goes around, or the stem.
        normalise: Batch normalisation of the summed current.
        neuron: Unit over time.
        first: First convolution of a block with its normalisation and neurons; ``None`` for the stem.
        shortcut: Convolution 1 x 1 of the spikes that come in; ``None`` where their current is added as it is.
        pool: Average pooling behind the neurons.
    """

    def __init__(
        self,
        synapse: Conv2d,
        neuron: Neuron,
        *,
        normalise: nn.BatchNorm2d,
        first: Layer | None = None,
        shortcut: Conv2d | None = None,
        pool: nn.AvgPool2d | None = None,
    ) -> None:
        super().__init__()
        self.first = first
        self.synapse = synapse
        self.shortcut = shortcut
        self.normalise = normalise
        self.neuron = neuron
        self.pool = pool
        self.adds_current = first is not None and shortcut is None

    def forward(self, signal: Signal) -> Signal:
        """Return the layer's output signal."""
        inner = signal if self.first is None else self.first(signal)
        return pooled(self._response(signal, inner), self.pool, self.neuron)

    def by_rates(self, signal: Signal) -> Signal:
        """Return the layer's output signal, whose credit has the derivative of rates by rates."""
        neuron = check_dsr(self.neuron)
        if self.first is None and signal.constant:
            total = self.synapse.transmit(signal)
            current = normalised(total, self.normalise).values
            response = neuron.respond(current, current, time_steps=signal.time_steps)
        else:
            total = self._through(self.synapse, signal if self.first is None else self.first.by_rates(signal))
            beside = self._beside(signal, self._through)
            total = total if beside is None else self._joined(total, beside)
            current = normalised(replace(total, credit=None), self.normalise).values
            if total.credit is None:
                credit = current.mean(0)
            else:
                credit = normalised(Signal(values=total.credit, time_steps=1, constant=True), self.normalise).values
            response = neuron.respond(current, credit)
        sending = sent(response.spikes, neuron, credit=response.credit, rate=response.rate)
        return pooled(replace(sending, current=total), self.pool, neuron)

    def step(self, moment: Moment, state: OnlineState | None) -> tuple[Moment, OnlineState]:
        """Return one step's output, with its eligibility trace, and the states of both layers of neurons."""
        of_first, of_neuron = (None, None) if state is None else state.neuron
        inner = moment
        if self.first is not None:
            inner, of_first = self.first.step(moment, of_first)
        total = self.synapse(inner.values, **inner.learning())
        if self.shortcut is not None:
            total = total + self.shortcut(moment.values, **moment.learning())
        elif moment.current is not None:
            total = total + moment.current
        current = normalised(Signal(values=total, time_steps=1, constant=True), self.normalise).values
        output, after = self.neuron.step(current, of_neuron)
        values, trace = sent_at_once(output, self.neuron, self.pool, state)
        after = (of_first, detached(after))
        return Moment(values=values, trace=trace, current=total), OnlineState(after, trace)

    def observed(self, name: str, signal: Signal) -> tuple[Signal, list[LayerActivity]]:
        """Return the layer's output signal and what its synapses did: first, second, shortcut."""
        inner, seen = signal, []
        if self.first is not None:
            inner, seen = self.first.observed(f"{name}.first", signal)
        response = self._response(signal, inner)
        pairs = [(name, self.synapse, inner)]
        if self.shortcut is not None:
            pairs.append((f"{name}.shortcut", self.shortcut, signal))
        for own, synapse, pre in pairs:
            seen.append(
                LayerActivity(
                    name=own, synapse=synapse, pre=pre.recorded(), pre_is_spikes=pre.are_spikes, post=response.values,
                    pre_spikes_per_unit=pre.spikes_per_unit,
                )
            )  # fmt: skip
        return pooled(response, self.pool, self.neuron), seen

    def _response(self, signal: Signal, inner: Signal) -> Signal:
        """Return what the neurons make of ``inner`` and the shortcut of ``signal``, before pooling."""
        total, beside = self.synapse.transmit(inner), self._beside(signal, Conv2d.transmit)
        if beside is not None:
            total = replace(total, values=total.values + beside.values)
        current = normalised(total, self.normalise)
        if current.constant:
            values, _ = self.neuron.constant(current.values, current.time_steps)
        else:
            values, _ = self.neuron(current.values)
        return replace(sent(values, self.neuron), current=total)

    def _beside(self, signal: Signal, through: Callable[[Conv2d, Signal], Signal]) -> Signal | None:
        """Return the current of the shortcut; ``None`` for a stem."""
        if self.first is None:
            return None
        return signal.current if self.shortcut is None else through(self.shortcut, signal)

    def _through(self, synapse: Conv2d, signal: Signal) -> Signal:
        """Return a current for :meth:`by_rates`: with a credit, or under batch statistics a graph at every step."""
        mean, rate = rates_of(signal, check_dsr(self.neuron).keep)
        if self.normalise.training:
            return Signal(values=by_steps(synapse, signal, mean, rate), time_steps=signal.time_steps)
        with torch.no_grad():
            current = synapse.transmit(signal)
        return replace(current, credit=with_credit(synapse, signal, mean, rate))

    def _joined(self, current: Signal, beside: Signal) -> Signal:
        """Return the sum of two currents; the second may be constant, or come from a layer in another mode."""
        if current.credit is None:
            values = beside.values if beside.credit is None else carried(beside.values, beside.credit)
            return replace(current, values=current.values + values)
        credit = beside.credit
        if credit is None:
            credit = beside.values if beside.constant else beside.values.mean(0)
        return replace(current, values=current.values + beside.values.detach(), credit=current.credit + credit)


class ResNet18(Network):
    """The HLOP paper's network for 5-Datasets: pre-activation ResNet-18, 20, 40, 80 and 160 channels, 3 x 3 stem.

    Eight blocks of two convolutions 3 x 3; the third, fifth and seventh halve height and width, with a shortcut 1 x 1
    of the spikes. Average pooling over the whole image at the end. 1,092,597 numbers before the head with trainable
    thresholds, and 1,094,207 with 10 labels, as in the paper; 1,094,190 with neurons whose thresholds are constants.

    Args:
        shape: What the inputs are; ``input_shape`` is ``(channels, height, width)``, at least 8 x 8.
        width: Channels of the first two blocks; each following pair has twice as many.
        coding: ``"spiking"``, or ``"rate"`` for the same network with rate units and one step.
        neuron: Makes one layer's spiking neurons; ``None`` means the default of the training mode.
        encoding: How a static input enters the spiking network; ``None`` means direct, 16 steps (the paper's 20).
        readout: ``"weighted-rate"``, ``"membrane"``, ``"mean"``, ``"count"``, or a :class:`Readout`; ``None`` means
            ``"weighted-rate"`` as in the paper, and the mean for ``training="ottt"``.
        head: ``"multi"`` as in the paper, ``"single"``, ``"expanding"``, or a class of head.
        seed: Source of all weights.
        feedback: How errors go down through weights, see :mod:`neurocl.networks.propagation`.
        training: How weights get their gradient, see :mod:`neurocl.networks.training`; rate coding has one way only.

    Source:
        He et al. 2016, Identity mappings in deep residual networks, ECCV; Xiao et al. 2024, Hebbian learning based
        orthogonal projection, ICLR: width and protocol. Differs: as :class:`HLOPNet` does, in the start of the head and
        in the gain of normalisation where neurons are trained by surrogates or online. For miniImageNet the paper has a
        stem of 5 x 5, stride 2, which is not here.
    """

    def __init__(
        self,
        shape: TaskShape,
        *,
        width: int = 20,
        coding: Coding = "spiking",
        neuron: MakeNeuron | None = None,
        encoding: Encoding | None = None,
        readout: ReadoutName | Readout | None = None,
        head: HeadName | MakeHead = "multi",
        seed: int = 0,
        feedback: Feedback = "transpose",
        training: TrainingMode = "surrogate",
    ) -> None:
        training = check_training(training, coding)
        make_neuron, entry = neuron_for(coding, neuron, training), encoding_for(coding, encoding, shape)
        pre, height, side = image_shape(shape, halvings=3)
        post, made = check_count("width", width), 0

        def convolution(pre: int, post: int, *, size: int = 3, stride: int = 1) -> Conv2d:
            nonlocal made
            draws, ways = generator(seed, "hidden", made), feedback_options(feedback, seed, made)
            made += 1
            synapse = Conv2d(
                pre, post, kernel_size=size, stride=stride, padding=size // 2, bias=False, generator=draws, **ways
            )
            nn.init.kaiming_normal_(synapse.weight, mode="fan_out", nonlinearity="relu", generator=draws)
            return synapse

        def normalisation(channels: int) -> nn.BatchNorm2d:
            made = nn.BatchNorm2d(channels)
            nn.init.constant_(made.weight, 0.6 if coding == "spiking" and training != "dsr" else 1.0)
            return made

        with seeded(seed, "neurons"):
            layers = [ResidualLayer(convolution(pre, post), make_neuron(), normalise=normalisation(post))]
            pre = post
            for block in range(8):
                stride = 2 if block in (2, 4, 6) else 1
                post, height, side = post * stride, -(-height // stride), -(-side // stride)
                first = Layer(convolution(pre, post, stride=stride), make_neuron(), normalise=normalisation(post))
                layers.append(
                    ResidualLayer(
                        convolution(post, post),
                        make_neuron(),
                        normalise=normalisation(post),
                        first=first,
                        shortcut=convolution(pre, post, size=1, stride=2) if stride == 2 else None,
                        pool=nn.AvgPool2d((height, side)) if block == 7 else None,
                    )
                )
                pre = post
            super().__init__(
                shape, layers=layers, features=post, encoding=entry, head=head, seed=seed, feedback=feedback,
                readout=make_readout(
                    readout or READOUTS_OF_HLOP[training], make_neuron, gain=readout_gain_for(coding, training),
                    training=training,
                ),
                training=training,
            )  # fmt: skip

    def hidden_features(self, inputs: Tensor, *, last: int = 0, read: str = "spikes") -> Float[Tensor, "batch feature"]:
        """Return every hidden channel's firing rate, averaged over the image and by the readout's weights over time.

        In evaluation mode and without gradients; 1,220 values for a width of 20. With ``last`` those of so many
        convolutions alone, counted from the head. Nothing but ``"spikes"`` is read.
        """
        if check_name("what to read", read, get_args(Read)) != "spikes":
            raise BadInput("currents are read of plain layers (MLP, CNN), not of residual blocks: read spikes")
        seen = [layer for layer in self.activity(inputs) if layer.name != "head"]
        posts = [layer.post for layer in seen if not layer.name.endswith(".shortcut")]
        if not 0 <= last <= len(posts):
            raise BadInput(f"last must lie between 0 (all) and {len(posts)}, the convolutions; got {last}")
        posts = posts[-last:]
        rates = [Signal(values=post.mean((3, 4)), time_steps=len(post)) for post in posts]
        return torch.cat([self.readout.features(signal) for signal in rates], dim=1)
