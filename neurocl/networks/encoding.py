"""How a static input becomes a signal over time: as a current, as Poisson spikes, or by the time of one spike.

Spiking encodings expect values from 0 to 1, and take what lies outside as the nearer bound.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.kernels.transforms import inside_compiler, inside_transform
from neurocl.networks.signal import Signal
from neurocl.primitives.checks import BadInput, check_count, check_finite, check_number
from neurocl.primitives.seeding import generator, numpy_generator


class Encoding(nn.Module):
    """Contract: ``encoding(inputs [B, ...]) -> [T, B, ...]``, and the same as a :class:`Signal`.

    Args:
        time_steps: Number of steps, T.

    Attributes:
        spiking: Whether the values over time are spikes, 0 or 1.
        weight_scale: Scale of the first layer's weights at which default neurons fire, see ``initialise``.
    """

    spiking: bool = False
    weight_scale: float = 1.0  # of the first layer's weights: images have a mean square of 0.1 to 0.3

    def __init__(self, time_steps: int) -> None:
        super().__init__()
        self.time_steps = check_count("time_steps", time_steps)

    def forward(self, inputs: Float[Tensor, " batch *sample"]) -> Float[Tensor, "time batch *sample"]:
        """Return the input over time."""
        raise NotImplementedError

    def signal(self, inputs: Float[Tensor, " batch *sample"]) -> Signal:
        """Return the input over time as the first layer takes it."""
        return Signal(values=self(inputs), time_steps=self.time_steps, spikes_per_unit=1.0 if self.spiking else None)


class Direct(Encoding):
    """The input itself is the current, the same at every step; the first synapse multiplies it once."""

    def forward(self, inputs: Float[Tensor, " batch *sample"]) -> Float[Tensor, "time batch *sample"]:
        """Return the input repeated, without a copy."""
        return inputs.unsqueeze(0).expand(self.time_steps, *inputs.shape)

    def signal(self, inputs: Float[Tensor, " batch *sample"]) -> Signal:
        """Return the input as a constant signal."""
        return Signal(values=inputs, time_steps=self.time_steps, constant=True)


class Poisson(Encoding):
    """Each value x is the chance of a spike at each step, independent over steps: T x spikes on average.

    In training every call draws anew; which draw comes next is part of the state dict. In evaluation all calls and
    all samples share one draw of the thresholds that x has to exceed, so that the answer for a sample depends neither
    on its neighbours in the batch nor on what was asked before.

    Args:
        time_steps: Number of steps, T.
        seed: Source of all draws.

    Source:
        Bernoulli approximation of a Poisson process, Gerstner et al. 2014, Neuronal Dynamics, section 7.2.
    """

    spiking = True
    calls: Tensor

    def __init__(self, time_steps: int, *, seed: int = 0) -> None:
        super().__init__(time_steps)
        self.seed = check_count("seed", seed, at_least=0)
        self.repeatable = False
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs: Float[Tensor, " batch *sample"]) -> Float[Tensor, "time batch *sample"]:
        """Return spikes as 0 and 1 in the dtype of the input."""
        inputs = comparable(inputs)
        return (inputs.unsqueeze(0) > self._thresholds(inputs)).to(inputs.dtype)

    def _thresholds(self, inputs: Tensor) -> Tensor:
        """Return uniform numbers ``[T, B, ...]`` in training, ``[T, 1, ...]`` in evaluation."""
        if self.training and not self.repeatable:
            shape = (self.time_steps, *inputs.shape)
            drawn = torch.rand(shape, generator=generator(self.seed, "poisson", int(self.calls)), dtype=inputs.dtype)
            self.calls += 1
            return drawn.to(inputs.device)
        # NumPy's generator: torch's would not run under torch.func.vmap
        drawn = numpy_generator(self.seed, "poisson evaluation").random((self.time_steps, 1, *inputs.shape[1:]))
        return torch.from_numpy(drawn).to(inputs)


class Latency(Encoding):
    r"""One spike a value, the earlier the larger: step :math:`\mathrm{round}((1 - x)(T - 1))`.

    Args:
        time_steps: Number of steps, T.
        silent_below: Values at or below it give no spike at all; in [0, 1).
    """

    spiking = True
    weight_scale = 3.0  # one volley has to move the membrane as far as a current that stays

    def __init__(self, time_steps: int, *, silent_below: float = 0.01) -> None:
        super().__init__(time_steps)
        self.silent_below = check_number("silent_below", silent_below, at_least=0, below=1)

    def forward(self, inputs: Float[Tensor, " batch *sample"]) -> Float[Tensor, "time batch *sample"]:
        """Return spikes as 0 and 1 in the dtype of the input."""
        step = ((1.0 - comparable(inputs).clamp(0, 1)) * (self.time_steps - 1)).round()
        step = torch.where(inputs > self.silent_below, step, -1.0)
        times = torch.arange(self.time_steps, device=inputs.device, dtype=inputs.dtype)
        return (times.view(-1, *(1,) * inputs.ndim) == step).to(inputs.dtype)


def comparable(inputs: Float[Tensor, " batch *sample"]) -> Float[Tensor, " batch *sample"]:
    """Return ``inputs`` if spikes can be made of them; NaN would be silent.

    Raises:
        BadInput: If they are not floating-point; on the CPU also if they are not finite, as a look at a GPU takes time.
    """
    if not inputs.is_floating_point():
        raise BadInput(f"inputs must be floating-point; got {inputs.dtype}: convert them, bytes divided by 255")
    if inputs.device.type == "cpu" and not inside_compiler() and not inside_transform():
        check_finite("inputs", inputs)
    return inputs


class Frames(Encoding):
    """A sample that is a sequence already, ``[T, B, ...]``: passed on as it is.

    Args:
        time_steps: Length of the sequence, T.
        spikes: Whether the values are all 0 or 1, so that the first synapse may count events.
    """

    def __init__(self, time_steps: int, *, spikes: bool = False) -> None:
        super().__init__(time_steps)
        self.spiking = spikes

    def forward(self, inputs: Float[Tensor, "time batch *sample"]) -> Float[Tensor, "time batch *sample"]:
        """Return the sequence."""
        return inputs
