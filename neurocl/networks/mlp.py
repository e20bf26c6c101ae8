"""The feed-forward network: fully connected hidden layers over time."""

from collections.abc import Sequence

from neurocl.networks.coding import (
    MakeNeuron,
    TrainingMode,
    encoding_for,
    initial_weight_scale,
    neuron_for,
    readout_gain_for,
)
from neurocl.networks.encoding import Encoding
from neurocl.networks.layers import Layer
from neurocl.networks.network import HeadName, MakeHead, Network, ReadoutName, make_readout
from neurocl.networks.propagation import Feedback
from neurocl.networks.readout import Readout
from neurocl.networks.synapses import Linear, feedback_options
from neurocl.networks.training import check_training
from neurocl.primitives.checks import check_counts
from neurocl.primitives.seeding import generator, seeded
from neurocl.primitives.tasks import Coding, TaskShape


class MLP(Network):
    """Fully connected layers; images are taken as vectors.

    Args:
        shape: What the inputs are.
        hidden: Width of each hidden layer.
        coding: ``"spiking"``, or ``"rate"`` for the same network with rate units and one step.
        neuron: Makes one layer's spiking neurons; ``None`` means the default of the training mode.
        encoding: How a static input enters the spiking network; ``None`` means direct, 16 steps.
        readout: ``"membrane"``, ``"weighted-rate"``, ``"mean"``, ``"count"``, or a :class:`Readout`; ``None`` means
            ``"membrane"``, the weighted rate for ``training="dsr"``, and the mean for ``"ottt"``.
        head: ``"single"``, ``"expanding"``, ``"multi"``, or a class of head.
        seed: Source of all weights.
        bias: Whether neurons and head have a bias.
        weight_scale: Standard deviation of a hidden current for inputs of mean square 1; ``None`` means 1 for
            the first spiking layer, 1.5 for those behind it, and torch's 0.577 for rate units.
        feedback: How errors go down through weights, see :mod:`neurocl.networks.propagation`.
        training: How weights get their gradient, see :mod:`neurocl.networks.training`; rate coding has one way only.
    """

    def __init__(
        self,
        shape: TaskShape,
        *,
        hidden: Sequence[int] = (400, 400),
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
        layers, pre = [], shape.features
        with seeded(seed, "neurons"):
            for index, post in enumerate(check_counts("hidden", hidden)):
                draws = generator(seed, "hidden", index)
                ways = feedback_options(feedback, seed, index)
                scale = weight_scale or initial_weight_scale(coding, entry, layer=index, training=training)
                layers.append(Layer(Linear(pre, post, bias=bias, scale=scale, generator=draws, **ways), make_neuron()))
                pre = post
            super().__init__(
                shape,
                layers=layers,
                features=pre,
                encoding=entry,
                readout=make_readout(readout, make_neuron, gain=readout_gain_for(coding, training), training=training),
                head=head,
                seed=seed,
                bias=bias,
                feedback=feedback,
                training=training,
            )
