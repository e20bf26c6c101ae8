r"""The classical lateral circuit: Hebbian feed-forward and anti-Hebbian lateral synapses, homeostatic thresholds.

Units settle over time under a constant input x: the drive :math:`u = Q x` excites them, and their own output inhibits
them one step later through W. Every weight and threshold changes by what its own synapse or unit sees. No gradient
passes anywhere, and nothing is replayed.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from neurocl.kernels.event_product import event_linear
from neurocl.neurons import LIF
from neurocl.plasticity import anti_hebbian_step, oja_step
from neurocl.primitives.checks import BadInput, check_count, check_finite, check_name, check_number
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import CODINGS, Coding

LEAST_THRESHOLD = 1e-3  # drive; where nothing ever comes in, thresholds stop falling here


def settle_spikes(
    drive: Float[Tensor, "batch neuron"],
    lateral: Float[Tensor, "neuron neuron"],
    threshold: Float[Tensor, " neuron"],
    *,
    keep: float,
    time_steps: int,
) -> Float[Tensor, "batch neuron"]:
    r"""Return the firing rates, in spikes per step, of integrate-and-fire units that inhibit each other.

    With keep k: :math:`v_t = k v_{t-1} + (u - W s_{t-1}) / \theta`, a spike :math:`s_t` where :math:`v_t > 1`, then 1
    taken off; :math:`v_0 = s_0 = 0`. Strongly driven units fire first, and keep down the others.

    Args:
        drive: Drive u, the same at every step.
        lateral: Inhibition W, from column to row.
        threshold: Drive :math:`\theta` that brings a unit from rest to threshold in one step.
        keep: Share k of the membrane left after one step.
        time_steps: Number of steps.
    """
    current, inhibition = drive / threshold, (lateral / threshold.unsqueeze(1)).contiguous()
    v = current.clone()
    spikes = (v > 1).to(v)
    total = spikes.clone()
    for _ in range(time_steps - 1):
        # the units of neurocl.neurons.LIF, in place: thousands of patches an image make memory traffic the cost
        v.sub_(spikes).mul_(keep).add_(current).sub_(event_linear(spikes, inhibition, None, graded=False))
        torch.gt(v, 1, out=spikes)
        total.add_(spikes)
    return total.div_(time_steps)


def settle_rates(
    drive: Float[Tensor, "batch neuron"],
    lateral: Float[Tensor, "neuron neuron"],
    threshold: Float[Tensor, " neuron"],
    *,
    keep: float,
    time_steps: int,
) -> Float[Tensor, "batch neuron"]:
    r"""Return the graded output of leaky units that inhibit each other.

    :math:`v_t = k v_{t-1} + (1 - k)(u - W r_{t-1})`, :math:`r_t = [v_t - \theta]_+`, :math:`v_0 = u`: without lateral
    weights the rectified drive at once, with them their fixed point if there is time.

    Args:
        drive: Drive u, the same at every step.
        lateral: Inhibition W, from column to row.
        threshold: What a unit's potential has to exceed, :math:`\theta`.
        keep: Share k of the potential left after one step; must be larger where W is strong.
        time_steps: Number of steps; no product is needed in the first.

    Source:
        Rozell et al. 2008, Sparse coding via thresholding and local competition. Differs: one-sided outputs, and W is
        learnt, not the filters' overlap.
    """
    above, output = drive - threshold, (drive - threshold).relu_()  # v less its threshold
    settled, inhibition = (1 - keep) * above, (1 - keep) * lateral
    for _ in range(time_steps - 1):
        above = above.mul_(keep).add_(settled).sub_(event_linear(output, inhibition, None))
        output = above.relu()
    return output


def check_small(inputs: Tensor, *results: Tensor) -> None:
    """Refuse inputs that led to results beyond the type of numbers."""
    if not all(bool(torch.isfinite(values).all()) for values in results):
        raise BadInput(
            "inputs must be small enough for squares of the units' output to be finite; got values up to "
            f"{float(inputs.abs().max()):.3g}: scale them down"
        )


class FoldiakLayer(nn.Module):
    r"""Units that learn features of their input by local rules alone: ``layer(inputs [B, pre]) -> rates [B, post]``.

    With s the units' output (spikes per step, or graded), p the rate they are held at and :math:`\langle\rangle` the
    mean over a batch, :meth:`learn` changes, after each batch,

    - lateral inhibition W, anti-Hebbian, by :func:`~neurocl.plasticity.anti_hebbian_step`: units that are active
      together more than by chance inhibit each other;
    - feed-forward weights Q, Hebbian with Oja's decay, by :func:`~neurocl.plasticity.oja_step`;
    - thresholds, homeostatic: :math:`\Delta \theta_i = \gamma (\langle s_i \rangle / p - 1)`, above 0. They hold units
      near p where thresholds and lateral synapses can: units that get alike drive and no inhibition fire as one, and
      targets must leave silence between.

    Args:
        pre: Number of inputs.
        post: Number of units.
        coding: ``"spiking"``: :func:`settle_spikes`; ``"rate"``: :func:`settle_rates`.
        target_rate: Mean output p of every unit: spikes per step, in (0, 1), or graded output; smaller is sparser.
        time_steps: Steps the units have to settle.
        keep: Share of the potential left after one step, in (0, 1).
        anti_hebbian_rate: :math:`\alpha`, in units of drive per output; 0 leaves W as it is: at first 0, no lateral
            synapses.
        lateral_decay: Share of W lost per unit of :math:`\alpha`, :math:`\lambda`; 0 is Földiák's rule, larger keeps
            inhibition weaker where targets are out of its reach.
        hebbian_rate: :math:`\beta`; 0 leaves Q as it is: at first random rows of norm 1.
        threshold_rate: :math:`\gamma`, in units of drive; 0 leaves all thresholds as they are: at first 1.
        seed: Source of the first weights.

    Raises:
        BadInput: If a size, a rate or an input cannot be used.

    Source:
        Földiák 1990, Forming sparse representations by local anti-Hebbian learning; spiking form Zylberberg et al. 2011
        (SAILnet). Differs: batches; rates relative to p; implicit Oja step; optional decay of W; leaky rectified units
        instead of sigmoids in the graded form; resets by subtraction.
    """

    feedforward: Tensor
    lateral: Tensor
    threshold: Tensor

    def __init__(
        self,
        pre: int,
        post: int,
        *,
        coding: Coding = "spiking",
        target_rate: float = 0.05,
        time_steps: int = 16,
        keep: float = 0.8,
        anti_hebbian_rate: float = 0.01,
        lateral_decay: float = 0.0,
        hebbian_rate: float = 1.0,
        threshold_rate: float = 0.02,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_count("pre", pre)
        check_count("post", post)
        check_name("coding", coding, CODINGS)
        self.coding = coding
        self.target_rate = (
            check_number("target_rate", target_rate, above=0, below=1)
            if coding == "spiking"
            else check_number("target_rate", target_rate, above=0)
        )
        self.time_steps = check_count("time_steps", time_steps)
        self.neuron = LIF.from_keep(keep)
        self.anti_hebbian_rate = check_number("anti_hebbian_rate", anti_hebbian_rate, at_least=0)
        self.lateral_decay = check_number("lateral_decay", lateral_decay, at_least=0)
        self.hebbian_rate = check_number("hebbian_rate", hebbian_rate, at_least=0)
        self.threshold_rate = check_number("threshold_rate", threshold_rate, at_least=0)
        first = torch.randn(post, pre, generator=generator(seed, "feedforward"))
        self.register_buffer("feedforward", functional.normalize(first, dim=1))
        self.register_buffer("lateral", torch.zeros(post, post))
        self.register_buffer("threshold", torch.ones(post))

    @torch.no_grad()
    def forward(self, inputs: Float[Tensor, "batch pre"]) -> Float[Tensor, "batch post"]:
        """Return what the units settle at; a row does not depend on the others, and nothing is learnt."""
        return self._settled(self._checked(inputs))

    @torch.no_grad()
    def learn(self, inputs: Float[Tensor, "batch pre"], *, pace: float = 1.0) -> Float[Tensor, "batch post"]:
        """Let the units settle, change weights and thresholds once, and return the output that they had before.

        Args:
            inputs: One row a sample; the changes are means over them.
            pace: Factor on all three learning rates; smaller lets weights and thresholds come to rest.

        Raises:
            BadInput: If squares of the output are beyond the type of numbers; nothing is changed then.
        """
        check_number("pace", pace, at_least=0)
        inputs = self._checked(inputs)
        output = self._settled(inputs)
        check_small(inputs, output.square())
        inhibition = anti_hebbian_step(
            self.lateral,
            output,
            target_rate=self.target_rate,
            learning_rate=pace * self.anti_hebbian_rate,
            decay=self.lateral_decay,
        )
        feedforward = oja_step(self.feedforward, inputs, output, learning_rate=pace * self.hebbian_rate)
        relative = output.mean(0) / self.target_rate
        threshold = (self.threshold + pace * self.threshold_rate * (relative - 1)).clamp_(min=LEAST_THRESHOLD)
        changed = {"lateral": inhibition, "feedforward": feedforward, "threshold": threshold}
        check_small(inputs, *changed.values())
        for name, values in changed.items():
            getattr(self, name).copy_(values)
        return output

    def settle(self, drive: Float[Tensor, "batch post"]) -> Float[Tensor, "batch post"]:
        """Return what the units settle at under a ``drive`` that was computed elsewhere."""
        lateral, threshold = self.lateral.to(drive), self.threshold.to(drive)
        if not bool(lateral.any()):  # nobody inhibits anybody: the same outputs, without the products
            if self.coding == "rate":
                return (drive - threshold).relu_()
            return self.neuron.constant(drive / threshold, self.time_steps)[0].mean(0)
        if self.coding == "spiking":
            return settle_spikes(drive, lateral, threshold, keep=self.neuron.keep, time_steps=self.time_steps)
        return settle_rates(drive, lateral, threshold, keep=self.neuron.keep, time_steps=self.time_steps)

    def _settled(self, inputs: Tensor) -> Tensor:
        return self.settle(inputs @ self.feedforward.to(inputs).T)

    def _checked(self, inputs: Tensor) -> Tensor:
        """Return ``inputs`` if they can be used."""
        if inputs.ndim != 2 or inputs.shape[1] != self.feedforward.shape[1] or len(inputs) == 0:
            raise BadInput(f"inputs must be [B, {self.feedforward.shape[1]}], B at least 1; got {list(inputs.shape)}")
        if not inputs.is_floating_point():
            raise BadInput(f"inputs must be floating-point; got {inputs.dtype}: convert them with .float()")
        return check_finite("inputs", inputs)
