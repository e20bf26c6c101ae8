r"""Local rules by what two neurons do together: Hebbian couplings, Oja's rule, and the anti-Hebbian rule.

Each change needs only the activity on both sides of a synapse, and the weight. Means are over a batch.
"""

from jaxtyping import Float
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_finite, check_number


def hebbian_coupling(patterns: Float[Tensor, "pattern neuron"]) -> Float[Tensor, "neuron neuron"]:
    r"""Return :math:`J_{ij} = \frac{1}{N} \sum_\mu \xi^\mu_i \xi^\mu_j` without self-couplings: an associative memory.

    Patterns may leave neurons out (entries 0). With few patterns of entries -1, 0, 1 and a share d of zeros, neurons
    that follow :math:`s_i = \mathrm{sign} \sum_j J_{ij} s_j` from the first pattern retrieve several at once, at
    overlaps :math:`1 - d, d (1 - d), d^2 (1 - d), \dots` as long as :math:`1 - 2 d + d^K > 0`.

    Args:
        patterns: One row a pattern.

    Raises:
        BadInput: If there is no pattern, or an entry is not finite.

    Source:
        Hebb 1949; Agliari et al. 2012, Multitasking associative networks, for diluted patterns.
    """
    if patterns.ndim != 2 or patterns.numel() == 0:
        raise BadInput(f"patterns must be [K, N], at least one of one neuron; got {list(patterns.shape)}")
    check_finite("patterns", patterns)
    return (patterns.T @ patterns / patterns.shape[1]).fill_diagonal_(0)


def oja_step(
    weight: Float[Tensor, "post pre"],
    pre: Float[Tensor, "batch pre"],
    post: Float[Tensor, "batch post"],
    *,
    learning_rate: float,
) -> Float[Tensor, "post pre"]:
    r"""Return the weights after :math:`\Delta W_{ij} = \beta \langle s_i (x_j - s_i W_{ij}) \rangle`.

    The new W stands on the right-hand side: a step of any size is stable, and fixed points are the same. Rows of a
    linear unit, :math:`s = W x`, end at norm 1.

    Args:
        weight: Weights W.
        pre: Input x.
        post: Output s.
        learning_rate: :math:`\beta`.

    Raises:
        BadInput: If shapes do not belong together, there is no sample, or an entry is not finite.

    Source:
        Oja 1982, A simplified neuron model as a principal component analyzer. Differs: batches, implicit step.
    """
    check_number("learning_rate", learning_rate, at_least=0)
    check_sides(weight, post, pre)
    pull = learning_rate * (post.T @ pre) / len(pre)
    decay = learning_rate * post.square().mean(0).unsqueeze(1)
    return (weight + pull) / (1 + decay)


def anti_hebbian_step(
    inhibition: Float[Tensor, "neuron neuron"],
    output: Float[Tensor, "batch neuron"],
    *,
    target_rate: float,
    learning_rate: float,
    decay: float = 0.0,
) -> Float[Tensor, "neuron neuron"]:
    r"""Return lateral inhibition after one step of the anti-Hebbian rule.

    :math:`\Delta W_{ij} = \alpha (\langle s_i s_j \rangle / p^2 - 1 - \lambda W_{ij})`, the new W on the right.
    Weights stay non-negative and neurons do not inhibit themselves. Pairs that are active together more often than
    independent neurons of rate p come to inhibit each other: without decay until they are not, with it in proportion.

    Args:
        inhibition: Weights W, from column to row.
        output: Output s.
        target_rate: Rate p.
        learning_rate: :math:`\alpha`.
        decay: :math:`\lambda`; larger keeps inhibition weaker.

    Raises:
        BadInput: If shapes do not belong together, there is no sample, or an entry is not finite.

    Source:
        Földiák 1990, Forming sparse representations by local anti-Hebbian learning. Differs: batches; relative to p²,
        so that one learning rate serves every p; the decay.
    """
    check_number("target_rate", target_rate, above=0)
    check_number("learning_rate", learning_rate, at_least=0)
    check_number("decay", decay, at_least=0)
    check_sides(inhibition, output, output)
    relative = output / target_rate
    excess = relative.T @ relative / len(output) - 1
    changed = (inhibition + learning_rate * excess) / (1 + learning_rate * decay)
    return changed.clamp_(min=0).fill_diagonal_(0)


def check_sides(weight: Tensor, post: Tensor, pre: Tensor) -> None:
    """Refuse weights and activity on their two sides that do not belong together, or are not finite."""
    sides = post.ndim == pre.ndim == 2 and len(post) == len(pre) > 0
    if not sides or weight.shape != (post.shape[1], pre.shape[1]):
        raise BadInput(
            "weights must be [post, pre] for activity [B, post] and [B, pre], B at least 1; got "
            f"{list(weight.shape)} for {list(post.shape)} and {list(pre.shape)}"
        )
    for name, values in (("weights", weight), ("post", post), ("pre", pre)):
        check_finite(name, values)
