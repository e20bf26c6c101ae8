"""Supervised contrastive loss: samples of one class pull together on the unit sphere, others push apart."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from neurocl.primitives.checks import check_number


def supervised_contrastive(
    features: Float[Tensor, "sample unit"], labels: Int64[Tensor, " sample"], *, temperature: float = 0.1
) -> Float[Tensor, ""]:
    r"""Return the supervised contrastive loss of one view.

    :math:`L = \frac{1}{|A|} \sum_{i \in A} \frac{-1}{|P(i)|} \sum_{p \in P(i)} \left[ z_i \cdot z_p / \tau - \log
    \sum_{a \neq i} e^{z_i \cdot z_a / \tau} \right]` with :math:`z = h / \lVert h \rVert`, :math:`P(i)` the other
    samples of i's class and A the samples that have any. Silent samples have :math:`z = 0`, and so no gradient.

    Args:
        features: ``[sample, unit]``, rates of any scale.
        labels: ``[sample]``.
        temperature: Above 0; smaller looks at the nearest samples alone.

    Returns:
        The loss, 0 where no class has two samples.

    Source:
        Khosla et al. 2020, Supervised contrastive learning, NeurIPS, with the positives outside the logarithm. Differs:
        one view without augmentation, as in SHARP; a class with a single sample is pushed from, and pulls nothing.
    """
    check_number("temperature", temperature, above=0)
    silent = (features == 0).all(1, keepdim=True)
    directions = functional.normalize(features + silent, dim=1) * ~silent  # the length of nothing has no slope
    likeness = directions @ directions.T / temperature
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    alike = (labels[:, None] == labels) & ~itself
    positives = alike.sum(1)
    anchors = positives > 0
    if not bool(anchors.any()):
        return (features * 0).sum()
    log_share = likeness - likeness.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    pulled = (log_share * alike).sum(1)[anchors] / positives[anchors]
    return -pulled.mean()
