"""The recurrent network: hidden neurons with lateral weights among themselves, one step of delay."""

from collections.abc import Sequence

import torch
from torch import Tensor

from neurocl.networks.coding import (
    MakeNeuron,
    TrainingMode,
    encoding_for,
    initial_weight_scale,
    neuron_for,
    readout_gain_for,
)
from neurocl.networks.encoding import Encoding
from neurocl.networks.layers import HiddenLayer
from neurocl.networks.network import HeadName, MakeHead, Network, ReadoutName, make_readout
from neurocl.networks.readout import Readout
from neurocl.networks.signal import LayerActivity, Signal
from neurocl.networks.synapses import Linear, amplified
from neurocl.networks.training import check_training
from neurocl.neurons import Neuron
from neurocl.primitives.checks import BadInput, check_counts
from neurocl.primitives.seeding import generator, seeded
from neurocl.primitives.tasks import Coding, TaskShape


class RecurrentLayer(HiddenLayer):
    r"""Neurons that see their own output one step later: :math:`I_t = W x_t + b + L\,s_{t-1}`, :math:`s_{-1} = 0`.

    The drive :math:`W x_t + b` is one product over all steps (one step where the input is constant); the lateral part
    has to wait for the spikes.

    Args:
        synapse: Input weights.
        lateral: Weights ``[neuron, neuron]`` among the layer's neurons.
        neuron: Unit with ``step(current, state)`` and ``spiking``.
    """

    def __init__(self, synapse: Linear, lateral: Linear, neuron: Neuron) -> None:
        super().__init__()
        self.synapse = synapse
        self.lateral = lateral
        self.neuron = neuron

    def forward(self, signal: Signal) -> Signal:
        """Return the layer's output signal."""
        drive = self.synapse.transmit(signal)
        steps = [drive.values] * drive.time_steps if drive.constant else [*drive.values.unbind(0)]
        state, output, outputs = None, None, []
        for current in steps:
            total = current if output is None else current + self._lateral_current(output)
            output, state = self.neuron.step(total, state)
            outputs.append(output)
        spikes_per_unit = 1.0 if self.neuron.spiking else None
        return Signal(
            values=torch.stack(outputs),
            time_steps=drive.time_steps,
            spikes_per_unit=spikes_per_unit,
            amplitude=self.neuron.amplitude,
        )

    def observed(self, name: str, signal: Signal) -> tuple[Signal, list[LayerActivity]]:
        """Return the layer's output signal and what its two synapses did."""
        out = self(signal)
        before = torch.cat([torch.zeros_like(out.values[:1]), out.values[:-1]])
        own = LayerActivity(
            name=name,
            synapse=self.synapse,
            pre=signal.recorded().flatten(2),
            pre_is_spikes=signal.are_spikes,
            post=out.values,
            pre_spikes_per_unit=signal.spikes_per_unit,
        )
        lateral = LayerActivity(
            name=f"{name}.lateral",
            synapse=self.lateral,
            pre=before,
            pre_is_spikes=out.are_spikes,
            post=out.values,
            pre_spikes_per_unit=out.spikes_per_unit,
        )
        return out, [own, lateral]

    def _lateral_current(self, output: Tensor) -> Tensor:
        current = self.lateral.product(output, spikes=self.neuron.spiking)
        return amplified(current, self.neuron.amplitude, self.lateral.bias)


class Recurrent(Network):
    """Fully connected hidden layers with lateral weights; images are taken as vectors.

    Rate-coded, the hidden layers are those of a simple recurrent network with rectified units. A static input in one
    step leaves them no time to use their lateral weights: with sequences they do.

    Args:
        shape: What the inputs are.
        hidden: Width of each hidden layer.
        coding: ``"spiking"``, or ``"rate"`` for the same network with rate units.
        neuron: Makes one layer's spiking neurons; ``None`` means the default of the training mode.
        encoding: How a static input enters the spiking network; ``None`` means direct, 16 steps.
        readout: ``"membrane"``, ``"weighted-rate"``, ``"mean"``, ``"count"``, or a :class:`Readout`; ``None`` means
            ``"membrane"``.
        head: ``"single"``, ``"expanding"``, ``"multi"``, or a class of head.
        seed: Source of all weights.
        bias: Whether neurons and head have a bias.
        weight_scale: Standard deviation of a hidden current for inputs of mean square 1; ``None`` means 1 for
            the first spiking layer, 1.5 for those behind it, and torch's 0.577 for rate units.
        lateral_scale: The same for the lateral weights.
        training: How weights get their gradient, ``"surrogate"`` only, rate-coded apart.
    """

    def __init__(
        self,
        shape: TaskShape,
        *,
        hidden: Sequence[int] = (256,),
        coding: Coding = "spiking",
        neuron: MakeNeuron | None = None,
        encoding: Encoding | None = None,
        readout: ReadoutName | Readout | None = None,
        head: HeadName | MakeHead = "expanding",
        seed: int = 0,
        bias: bool = True,
        weight_scale: float | None = None,
        lateral_scale: float = 0.5,
        training: TrainingMode = "surrogate",
    ) -> None:
        if check_training(training, coding) != "surrogate":
            raise BadInput(
                f"training must be 'surrogate' for Recurrent, whose lateral weights act over time; got {training!r}: "
                "use MLP, CNN or HLOPNet"
            )
        make_neuron, entry = neuron_for(coding, neuron, training), encoding_for(coding, encoding, shape)
        layers, pre = [], shape.features
        with seeded(seed, "neurons"):
            for index, post in enumerate(check_counts("hidden", hidden)):
                scale = weight_scale or initial_weight_scale(coding, entry, layer=index)
                synapse = Linear(pre, post, bias=bias, scale=scale, generator=generator(seed, "hidden", index))
                draws = generator(seed, "lateral", index)
                lateral = Linear(post, post, bias=False, scale=lateral_scale, generator=draws)
                layers.append(RecurrentLayer(synapse, lateral, make_neuron()))
                pre = post
            super().__init__(
                shape,
                layers=layers,
                features=pre,
                encoding=entry,
                readout=make_readout(readout, make_neuron, gain=readout_gain_for(coding, training)),
                head=head,
                seed=seed,
                bias=bias,
            )
