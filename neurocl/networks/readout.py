"""From the last hidden layer's activity over time to one score a class.

Two readouts are linear in the activity: the head then multiplies one weighted sum over time, B rows instead of T x B,
and the result is what reading every step would give. The third counts the spikes of output neurons and cannot be
taken apart so.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.kernels.weighted_rates import gathered
from neurocl.networks.heads import Head
from neurocl.networks.signal import Signal, Steps
from neurocl.neurons import Neuron
from neurocl.primitives.checks import check_number
from neurocl.primitives.time_constants import decay_factor


class Readout(nn.Module):
    """Contract: what the head reads (:meth:`features`), and the scores it gives (:meth:`forward`); itself a plain mean.

    Args:
        gain: Factor between the features and what the head multiplies; larger lets sparse activity make large scores.
    """

    def __init__(self, *, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = check_number("gain", gain, above=0)

    def weights(self, time_steps: int) -> list[float]:
        """Return the weight of each step in the features; the weights sum to 1."""
        return [1.0 / time_steps] * time_steps

    def features(self, signal: Signal) -> Float[Tensor, "batch feature"]:
        r"""Return the activity averaged over time by :meth:`weights`, times its amplitude.

        Where rates are differentiated, the gradient goes to the signal's credit, times :math:`T \sum_t w_t a_t` with
        the weights w of the neurons' rates and a of this readout: the published code divides the error over the steps
        by the readout's weights, and neurons gather it by their own. 1 where either are all alike; 1.08 for
        :class:`WeightedRate` and the paper's numbers.
        """
        if signal.credit is None:
            return self._average(signal)
        with torch.no_grad():
            average = self._average(signal)
        credit = signal.credit.flatten(1)
        louder = 1.0 if signal.shares is None else gathered(signal.shares, self.weights(len(signal.shares)))
        return average + louder * (credit - credit.detach())

    def _average(self, signal: Signal) -> Tensor:
        """Return the weighted average itself."""
        values, amplitude = signal.values.flatten(2), signal.amplitude
        shares = self.weights(values.shape[0])
        if signal.rate is not None and signal.shares == tuple(shares):  # the neurons weigh their spikes likewise
            return signal.rate.flatten(1)
        if values.shape[0] == 1:
            average = values.squeeze(0)
        elif len(set(shares)) == 1:  # the gradient of a plain mean is one slice seen T times, not T slices written
            average = values.mean(0)
        else:
            weights = torch.tensor(shares, dtype=values.dtype, device=values.device)
            average = (weights @ values.flatten(1)).unflatten(0, values.shape[1:])
        return average if amplitude == 1 else average * amplitude

    def forward(self, signal: Signal, head: Head, task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return scores, one column a label."""
        features = self.features(signal)
        features = features if self.gain == 1 else self.gain * features
        if signal.credit is None:
            return head(features, task_id)
        values, carries = signal.values.flatten(2), self.gain * signal.amplitude
        steps = Steps(values=values, shares=self.weights(len(values)), amplitude=carries)
        return head(features, task_id, steps=steps)


class WeightedRate(Readout):
    r"""Firing rates that favour recent spikes, :math:`w_t \propto e^{-(T - t)\,dt/\tau}`, read by the head.

    Equal to the membrane of a leaky integrator at the last step, divided by what a constant input of 1 leaves there.

    Args:
        tau_ms: Time constant of the weighting; larger weighs all steps alike.
        dt_ms: Length of one step.
        gain: Factor between the features and what the head multiplies.

    Source:
        Meng et al. 2022 (DSR), Xiao et al. 2024 (HLOP): weighted firing rate.
    """

    def __init__(self, *, tau_ms: float = 20.0, dt_ms: float = 1.0, gain: float = 1.0) -> None:
        super().__init__(gain=gain)
        self.keep = decay_factor(dt_ms=dt_ms, tau_ms=tau_ms)

    def weights(self, time_steps: int) -> list[float]:
        """Return the weight of each step; the weights sum to 1."""
        raw = [self.keep ** (time_steps - 1 - step) for step in range(time_steps)]
        return [weight / math.fsum(raw) for weight in raw]


class Membrane(Readout):
    r"""Membranes of leaky integrators that never spike, averaged over time.

    :math:`v_t = k v_{t-1} + (1 - k) I_t`, :math:`k = e^{-dt/\tau}`; the mean over t of :math:`v_t` is a weighted sum of
    the currents, :math:`w_t \propto 1 - k^{T - t + 1}`, here scaled so that a constant input reads as itself.

    Args:
        tau_ms: Time constant of the integrator; larger favours the early steps more.
        dt_ms: Length of one step.
        gain: Factor between the features and what the head multiplies.
    """

    def __init__(self, *, tau_ms: float = 20.0, dt_ms: float = 1.0, gain: float = 1.0) -> None:
        super().__init__(gain=gain)
        self.keep = decay_factor(dt_ms=dt_ms, tau_ms=tau_ms)

    def weights(self, time_steps: int) -> list[float]:
        """Return the weight of each step; the weights sum to 1."""
        raw = [1.0 - self.keep ** (time_steps - step) for step in range(time_steps)]
        return [weight / math.fsum(raw) for weight in raw]


class Count(Readout):
    """Spike counts of output neurons, one neuron a class, divided by ``per_score``.

    The head runs at every step. The features are plain firing rates of the last hidden layer. Rate-coded, there is
    nothing to count: the score is the current into the output unit, as rectifying it would leave wrong labels without
    a gradient (digits: 46 % instead of 96 % after 10 epochs).

    Args:
        neuron: Makes the output neurons.
        per_score: Spikes that make one unit of score; smaller makes the softmax over scores sharper.
    """

    def __init__(self, neuron: Callable[[], Neuron], *, per_score: float = 1.0) -> None:
        super().__init__()
        self.neuron = neuron()
        self.per_score = check_number("per_score", per_score, above=0)

    def forward(self, signal: Signal, head: Head, task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return scores, one column a label."""
        if not self.neuron.spiking:
            return super().forward(signal, head, task_id)
        spikes = self.output(signal, head, task_id)
        return head.placed(spikes.sum(0) / self.per_score, task_id)

    def output(self, signal: Signal, head: Head, task_id: int | None = None) -> Float[Tensor, "time batch column"]:
        """Return the spikes of the output neurons."""
        values = signal.values.flatten(2)
        if signal.amplitude != 1:
            values = values * signal.amplitude
        current = head.respond(values, task_id, spikes=signal.are_spikes and signal.amplitude == 1)
        spikes, _ = self.neuron(current)
        return spikes
