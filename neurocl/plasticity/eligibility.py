r"""Three factors instead of backpropagation through time: what a synapse saw, how near its neuron was, what came of it.

Everything is local to a synapse and goes forward in time; nothing of a step outlives it but a trace for each input and
one number for each synapse, the drive of the sample window. The drive then meets gate and saturation:
``optimiser.step()`` of :class:`neurocl.plasticity.CLASSP` after :meth:`ThreeFactors.release`.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.primitives.checks import BadInput, check_number


def three_factor_drive(
    pre: Float[Tensor, "time batch pre"],
    closeness: Float[Tensor, "time batch post"],
    signal: Float[Tensor, "time batch post"],
    *,
    keep: float,
    gain: float = 1.0,
) -> Float[Tensor, "post pre"]:
    r"""Return the drive that three factors give each synapse over a window.

    .. math:: D_{ij} = \frac1B \sum_{bt} L_i(t)\, \psi_i(t)\, \bar x_j(t), \qquad
        \bar x(t) = keep\,\bar x(t-1) + gain\,x(t)

    For one layer of leaky neurons whose reset is detached and subtracts, with :math:`L = -\partial E / \partial s` and
    :math:`\psi` the surrogate slope at the membrane, this is minus the gradient of backpropagation through time.

    Args:
        pre: Input x at each step, spikes or not.
        closeness: :math:`\psi`, how near each neuron's membrane is to threshold.
        signal: Learning signal L; positive where a neuron should fire more. A signal that comes once, at the end of
            the window, is the same at every step.
        keep: Share of the membrane, and so of the trace, that is left after one step.
        gain: Factor of the neuron on its input current.

    Raises:
        BadInput: If ``keep`` is outside [0, 1), there is no step or sample, or the three differ in steps, samples or
            neurons.

    Source:
        Bellec et al. 2020, A solution to the learning dilemma for recurrent networks of spiking neurons (e-prop).
        Differs: feed-forward layers; the mean over a batch.
    """
    if not len(pre) == len(closeness) == len(signal) or not len(pre):
        raise BadInput(
            f"pre, closeness and signal must be of the same steps, at least one; got {len(pre)}, {len(closeness)} and "
            f"{len(signal)}"
        )
    local = ThreeFactors(torch.zeros(closeness.shape[-1], pre.shape[-1]).to(pre), keep=keep, gain=gain)
    for x, psi, error in zip(pre, closeness, signal, strict=True):
        local.step(x, psi, error)
    return local.drive


class ThreeFactors:
    r"""Gathers the drive of one layer's weights, step by step, while the layer runs.

    Args:
        weight: ``[post, pre]``.
        keep: As for :func:`three_factor_drive`.
        gain: Likewise.
        keep_drive: Share of the drive itself that is left after one step; 1 sums over the window, below 1 counts late
            steps more.

    Attributes:
        drive: D so far, positive where a weight should grow.

    Raises:
        BadInput: For numbers out of range, or a weight that is no matrix.
    """

    def __init__(self, weight: Tensor, *, keep: float, gain: float = 1.0, keep_drive: float = 1.0) -> None:
        if weight.ndim != 2:
            raise BadInput(f"weight must be [post, pre]; got {list(weight.shape)}: take three_factor_drive on patches")
        self.weight = weight
        self.keep = check_number("keep", keep, at_least=0, below=1)
        self.gain = check_number("gain", gain)
        self.keep_drive = check_number("keep_drive", keep_drive, above=0, at_most=1)
        self.clear()

    def clear(self) -> None:
        """Begin a sample window: no trace, no drive."""
        self.drive = torch.zeros_like(self.weight, requires_grad=False)
        self._trace: Tensor | None = None

    @torch.no_grad()
    def step(
        self,
        pre: Float[Tensor, "batch pre"],
        closeness: Float[Tensor, "batch post"],
        signal: Float[Tensor, "batch post"],
    ) -> None:
        """Take in one time step; arguments as for :func:`three_factor_drive`.

        Raises:
            BadInput: If there is no sample, or not as many in all three and in all steps of a window, or not one number
                for each neuron of either side.
        """
        post, inputs = self.weight.shape
        if pre.shape[1:] != (inputs,) or closeness.shape[1:] != (post,) or signal.shape[1:] != (post,):
            raise BadInput(
                f"pre must be [batch, {inputs}], closeness and signal [batch, {post}], as the weight is "
                f"[{post}, {inputs}]; got {list(pre.shape)}, {list(closeness.shape)} and {list(signal.shape)}"
            )
        samples = {len(pre), len(closeness), len(signal), len(pre if self._trace is None else self._trace)}
        if len(samples) > 1 or not len(pre):
            raise BadInput(
                f"pre, closeness and signal must be of the same samples in all steps of a window, at least one; got "
                f"{sorted(samples)}: call clear() before the next window"
            )
        self.drive = self.drive.to(self.weight)  # which may have moved since
        now, closeness, signal = (part.to(self.weight) for part in (pre * self.gain, closeness, signal))
        self._trace = now if self._trace is None else self._trace.to(self.weight) * self.keep + now
        if self.keep_drive < 1:
            self.drive *= self.keep_drive
        self.drive.addmm_((signal * closeness).T, self._trace, alpha=1 / len(pre))

    def release(self) -> Float[Tensor, "post pre"]:
        """Hand the drive over as minus the gradient of a weight that learns, clear it, and return it.

        Raises:
            BadInput: If the drive is not finite.
        """
        if not bool(torch.isfinite(self.drive).all()):
            raise BadInput(
                "the drive of a sample window must be finite; some of it is NaN or infinite: call clear(), and look at "
                "what the steps of the window were given"
            )
        drive = self.drive
        if isinstance(self.weight, nn.Parameter) or (self.weight.requires_grad and self.weight.is_leaf):
            self.weight.grad = -drive
        self.clear()
        return drive
