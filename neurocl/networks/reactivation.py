"""Cuts of a network: a layer's output as it is recorded, and the signal that is made of it again.

A cut is ``"layers.1"``, what leaves the second layer, or ``"layers.1.neuron"``, what its neurons send out before
pooling; the number 1 stands for the former.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from neurocl.kernels.transforms import inside_compiler, inside_transform
from neurocl.networks.layers import HiddenLayer, area_of, pooled, sent
from neurocl.networks.signal import Signal
from neurocl.neurons import Neuron
from neurocl.primitives.checks import BadInput, check_finite, check_name


def place_of(cut: str | int, layers: Sequence[HiddenLayer]) -> tuple[int, bool]:
    """Return which layer a cut names, and whether it lies before that layer's pooling.

    Raises:
        BadInput: If it names none, or the layer behind needs more than what passes there.
    """
    known = {f"layers.{place}": (place, False) for place in range(len(layers))}
    known |= {f"{name}.neuron": (place, True) for name, (place, _) in known.items()}
    name = f"layers.{cut}" if isinstance(cut, int) else cut
    place, before_pooling = known[check_name("cut", name, known)]
    possible = [at for at in range(len(layers)) if at + 1 == len(layers) or not layers[at + 1].adds_current]
    if place not in possible:
        raise BadInput(
            f"cut must lie where all that goes on passes; got {name!r}, whose current the next layer adds too: "
            f"cut at {', '.join(f'layers.{at}' for at in possible)}"
        )
    return place, before_pooling


def passing(layer: HiddenLayer, signal: Signal, *, before_pooling: bool) -> Tensor:
    """Return ``[T, B, ...]``, what ``layer`` makes of ``signal``."""
    if not before_pooling:
        return layer(signal).values
    _, seen = layer.observed("cut", signal)
    return next(activity.post for activity in seen if activity.name == "cut")


def sent_again(layer: HiddenLayer, values: Tensor, *, before_pooling: bool) -> Signal:
    """Return ``values`` as the signal that ``layer`` sends; its neurons say what a value stands for."""
    neuron, pool = getattr(layer, "neuron", None), getattr(layer, "pool", None)
    if not isinstance(neuron, Neuron):
        raise BadInput(f"cut must be a layer with neurons; got {type(layer).__name__}: cut at another layer")
    signal = sent(values, neuron)
    if before_pooling:
        signal = pooled(signal, pool, neuron)
    elif isinstance(pool, nn.AvgPool2d) and neuron.spiking:
        signal = replace(signal, spikes_per_unit=float(area_of(pool)))
    if not signal.are_spikes or values.device.type != "cpu" or inside_compiler() or inside_transform():
        return signal  # where spikes are counted as events nowhere behind, what they are is not looked at
    return signal if bool(((values == 0) | (values == 1)).all()) else replace(signal, spikes_per_unit=None)


def check_activity(activity: Tensor, cut: str | int, units: tuple[int, ...], *, finite: bool) -> None:
    """Refuse activity that does not fit a cut where ``units`` values pass."""
    if activity.ndim < 2 or tuple(activity.shape[2:]) != units or not activity.is_floating_point():
        wanted = ", ".join(["T", "B", *map(str, units)])
        raise BadInput(
            f"activity must be floating-point [{wanted}] at {cut!r}; got {activity.dtype} {list(activity.shape)}: "
            "give what activity_at() returns"
        )
    if activity.numel() == 0:
        raise BadInput(f"activity must hold at least one step and one sample; got shape {list(activity.shape)}")
    if finite:
        check_finite("activity", activity)
