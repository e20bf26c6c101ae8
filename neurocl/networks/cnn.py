"""Convolutional networks over time: one of any size for any image, and the one of the HLOP paper for CIFAR."""

from collections.abc import Sequence
from typing import Any, get_args

from torch import nn

from neurocl.networks.coding import (
    MakeNeuron,
    TrainingMode,
    encoding_for,
    initial_weight_scale,
    neuron_for,
    readout_gain_for,
)
from neurocl.networks.encoding import Encoding
from neurocl.networks.layers import Layer, Read
from neurocl.networks.network import HeadName, MakeHead, Network, ReadoutName, make_readout
from neurocl.networks.propagation import Feedback
from neurocl.networks.readout import Readout
from neurocl.networks.synapses import Conv2d, Linear, feedback_options
from neurocl.networks.training import check_training
from neurocl.primitives.checks import BadInput, check_counts, check_name
from neurocl.primitives.seeding import generator, seeded
from neurocl.primitives.tasks import Coding, TaskShape


class CNN(Network):
    """Convolutions 3 x 3, max pooling 2 x 2 behind chosen ones (a spike passes where any of four neurons fired), MLP.

    The default, 16 and 32 channels, each pooled, has 4,800 weights on grey images before the head.

    Args:
        shape: What the inputs are; ``input_shape`` is ``(channels, height, width)``.
        channels: Channels of each convolution.
        pooled: Which of them are pooled, by place, which halves height and width, rounding down; ``None`` means all.
        pool: What is pooled: ``"spikes"``, or ``"currents"`` before neurons, one neuron a window, whose count says how
            large the largest current is, where four neurons that take turns make a window fire all the time.
        hidden: Width of each fully connected layer behind them.
        coding: ``"spiking"``, or ``"rate"`` for the same network with rate units and one step.
        neuron: Makes one layer's spiking neurons; ``None`` means the default of the training mode.
        encoding: How a static input enters the spiking network; ``None`` means direct, 16 steps.
        readout: ``"membrane"``, ``"weighted-rate"``, ``"mean"``, ``"count"``, or a :class:`Readout`; ``None`` means
            ``"membrane"``, the weighted rate for ``training="dsr"``, and the mean for ``"ottt"``.
        head: ``"single"``, ``"expanding"``, ``"multi"``, or a class of head.
        seed: Source of all weights.
        bias: Whether neurons and head have a bias.
        weight_scale: Standard deviation of a current for inputs of mean square 1; ``None`` means 1 for the
            first spiking layer, 1.5 for those behind it, and torch's 0.577 for rate units.
        feedback: How errors go down through weights, see :mod:`neurocl.networks.propagation`.
        training: How weights get their gradient, see :mod:`neurocl.networks.training`; rate coding has one way only.
    """

    def __init__(
        self,
        shape: TaskShape,
        *,
        channels: Sequence[int] = (16, 32),
        pooled: Sequence[int] | None = None,
        pool: str = "spikes",
        hidden: Sequence[int] = (),
        coding: Coding = "spiking",
        neuron: MakeNeuron | None = None,
        encoding: Encoding | None = None,
        readout: ReadoutName | Readout | None = None,
        head: HeadName | MakeHead = "expanding",
        seed: int = 0,
        bias: bool = True,
        weight_scale: float | None = None,
        feedback: Feedback = "transpose",
        training: TrainingMode = "surrogate",
    ) -> None:
        training = check_training(training, coding)
        make_neuron, entry = neuron_for(coding, neuron, training), encoding_for(coding, encoding, shape)
        channels, hidden = check_counts("channels", channels), tuple(hidden) and check_counts("hidden", hidden)
        pools, pool = check_pooled(pooled, len(channels)), check_name("what to pool", pool, get_args(Read))
        layers, pre = [], image_shape(shape, halvings=len(pools))[0]
        with seeded(seed, "neurons"):
            for index, post in enumerate((*channels, *hidden)):
                scale = weight_scale or initial_weight_scale(coding, entry, layer=index, training=training)
                options: dict[str, Any] = {"bias": bias, "scale": scale, "generator": generator(seed, "hidden", index)}
                options |= feedback_options(feedback, seed, index)
                if index == len(channels):
                    pre = flat_features(shape, pre, halvings=len(pools))
                synapse = Conv2d(pre, post, **options) if index < len(channels) else Linear(pre, post, **options)
                pooling = {"pool" if pool == "spikes" else "normalise": nn.MaxPool2d(2)} if index in pools else {}
                layers.append(Layer(synapse, make_neuron(), **pooling))
                pre = post
            super().__init__(
                shape,
                layers=layers,
                features=pre if hidden else flat_features(shape, pre, halvings=len(pools)),
                encoding=entry,
                readout=make_readout(readout, make_neuron, gain=readout_gain_for(coding, training), training=training),
                head=head,
                seed=seed,
                bias=bias,
                feedback=feedback,
                training=training,
            )


READOUTS_OF_HLOP: dict[str, ReadoutName] = {"surrogate": "weighted-rate", "dsr": "weighted-rate", "ottt": "mean"}


class HLOPNet(Network):
    """The HLOP paper's network for CIFAR: convolutions 3-64-128-256, each with batch normalisation and average pooling.

    3 x 3, padding 1, no bias; normalisation, neuron, 2 x 2 average pooling; 4,096 values into the head for 32 x 32.
    371,264 numbers before the head, and 412,234 with 10 labels.

    Args:
        shape: What the inputs are; ``input_shape`` is ``(channels, height, width)``.
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
        Xiao et al. 2024, Hebbian learning based orthogonal projection, ICLR. Differs: the paper's neurons have
        trainable thresholds, which make up its 412,237 numbers; give them by ``neuron``. Convolutions start from
        Kaiming's normal distribution over the fan-out as there; heads from torch's uniform one, theirs from N(0, 0.01).
        Normalisation of spiking layers starts with a gain of 0.6, theirs with 1, so that default neurons fire 20 %;
        with 1 too for ``training="dsr"``.
    """

    def __init__(
        self,
        shape: TaskShape,
        *,
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
        layers, pre = [], image_shape(shape, halvings=3)[0]
        with seeded(seed, "neurons"):
            for index, post in enumerate((64, 128, 256)):
                draws = generator(seed, "hidden", index)
                ways = feedback_options(feedback, seed, index)
                synapse = Conv2d(pre, post, bias=False, generator=draws, **ways)
                nn.init.kaiming_normal_(synapse.weight, mode="fan_out", nonlinearity="relu", generator=draws)
                normalise = nn.BatchNorm2d(post)
                nn.init.constant_(normalise.weight, 0.6 if coding == "spiking" and training != "dsr" else 1.0)
                layers.append(Layer(synapse, make_neuron(), normalise=normalise, pool=nn.AvgPool2d(2)))
                pre = post
            super().__init__(
                shape,
                layers=layers,
                features=flat_features(shape, pre, halvings=3),
                encoding=entry,
                readout=make_readout(
                    readout or READOUTS_OF_HLOP[training],
                    make_neuron,
                    gain=readout_gain_for(coding, training),
                    training=training,
                ),
                head=head,
                seed=seed,
                feedback=feedback,
                training=training,
            )


def check_pooled(pooled: Sequence[int] | None, convolutions: int) -> frozenset[int]:
    """Return the places of convolutions that are pooled."""
    places = frozenset(range(convolutions) if pooled is None else pooled)
    if not places <= set(range(convolutions)):
        raise BadInput(f"pooled must name convolutions by place, 0 to {convolutions - 1}; got {sorted(places)}")
    return places


def image_shape(shape: TaskShape, *, halvings: int) -> tuple[int, int, int]:
    """Return channels, height and width, if the image is large enough to be halved that often."""
    if len(shape.input_shape) != 3:
        raise BadInput(
            f"input_shape must be (channels, height, width) for convolutions; got {shape.input_shape}: use MLP"
        )
    channels, height, width = shape.input_shape
    if min(height, width) < 2**halvings:
        raise BadInput(f"images must measure at least {2**halvings} x {2**halvings} here; got {height} x {width}")
    return channels, height, width


def flat_features(shape: TaskShape, channels: int, *, halvings: int) -> int:
    """Return the number of values behind the last pooling."""
    _, height, width = image_shape(shape, halvings=halvings)
    return channels * (height >> halvings) * (width >> halvings)
