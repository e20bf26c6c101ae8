r"""How the weights of lateral neurons learn: Oja's subspace rule as published, and similarity matching.

Both see the answers Y ``[sample, row]`` of the rows at hand and what those leave over of the activity,
:math:`E = X - Y H`. The published rule moves every direction at the pace of its own variance, so that weak directions
come late. Similarity matching divides by the variance, which anti-Hebbian synapses between the lateral neurons learn.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.primitives.checks import check_count, check_number

MOMENT_MEMORY = 0.99  # of the answers' second moment: more samples than rows, or its axes would be chance
WARM_UP = 10  # updates that the first, unmeasured moments count for
FLOOR = 1e-6  # of the mean variance, added to each row's: answers that never vary divide by it


@runtime_checkable
class LateralRule(Protocol):
    """What a circuit asks of a rule.

    Attributes:
        momentum: Share of the last change that is kept.
        iterations: Changes made on the same activity, one after another.
        deflate: Whether new rows learn, and begin, from what the old rows leave over.
        matches: Whether the rule divides by the second moment of the answers, and so needs it.
    """

    @property
    def momentum(self) -> float: ...  # noqa: D102

    @property
    def iterations(self) -> int: ...  # noqa: D102

    @property
    def deflate(self) -> bool: ...  # noqa: D102

    @property
    def matches(self) -> bool: ...  # noqa: D102

    def change(
        self, answer: Float[Tensor, "sample row"], left: Float[Tensor, "sample pre"], moments: Float[Tensor, "m m"]
    ) -> Float[Tensor, "row pre"]:
        """Return the change before momentum and :meth:`rate`."""
        ...

    def rate(self, updates: int) -> float:
        """Return the learning rate after so many updates in a task."""
        ...


@dataclass(frozen=True, kw_only=True)
class HebbianRule:
    r"""Oja's subspace rule, as published: :math:`D = \mathrm{clamp}(Y^\top E / R)`.

    Attributes:
        learning_rate: Step of the weights; stable below 38 over twice the largest eigenvalue of the activity's second
            moment at momentum 0.9.
        momentum: Share of the last change that is kept; the rest is the new one.
        iterations: Changes made on the same activity, one after another.
        clamp: Largest change of a single weight, before learning rate and momentum.
        deflate: Whether new rows learn, and begin, from what the old rows leave over. Off, they see the whole activity,
            and overlap with the old rows builds up, as in the published code.

    Source:
        Oja 1989, Neural networks, principal components, and subspaces; Xiao et al. 2024, ICLR.
    """

    learning_rate: float = 0.01
    momentum: float = 0.9
    iterations: int = 5
    clamp: float = 10.0
    deflate: bool = True
    matches: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("momentum", self.momentum, at_least=0, below=1)
        check_count("iterations", self.iterations)
        check_number("clamp", self.clamp, above=0)

    def change(
        self, answer: Float[Tensor, "sample row"], left: Float[Tensor, "sample pre"], moments: Float[Tensor, "m m"]
    ) -> Float[Tensor, "row pre"]:
        """Return the clamped change."""
        return (answer.T @ left).div_(len(answer)).clamp_(-self.clamp, self.clamp)

    def rate(self, updates: int) -> float:
        """Return the learning rate, always the same."""
        return self.learning_rate


@dataclass(frozen=True, kw_only=True)
class SimilarityMatching:
    r"""Hebbian rows under anti-Hebbian inhibition of one another: :math:`D = M^{-1} Y^\top E / R`.

    Two local rules stand behind it, with running means over about :math:`1/\eta` batches: Hebbian feed-forward weights
    :math:`W \leftarrow (1 - \eta) W + \eta\, Y^\top X / R` and anti-Hebbian ones between lateral neurons,
    :math:`M \leftarrow (1 - \eta) M + \eta\, Y^\top Y / R`. The circuit settles to :math:`H = M^{-1} W`, whose change
    is the one above. Strong and weak directions are learnt at one pace: rows come as close to the principal subspace in
    a tenth of the samples, without momentum, clamp or iterations.

    Attributes:
        learning_rate: :math:`\eta`, a share and no step size: the scale of the activity does not matter. Larger in the
            first updates of a task, one over their number and ten.

    Source:
        Pehlevan, Hu & Chklovskii 2015, A Hebbian/anti-Hebbian neural network for linear subspace learning; the same
        recursion as Yang 1995, Projection approximation subspace tracking. Differs: batches; M starts as a multiple of
        the identity.
    """

    learning_rate: float = 0.01
    momentum: ClassVar[float] = 0.0
    iterations: ClassVar[int] = 1
    deflate: ClassVar[bool] = True
    matches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, above=0, at_most=1)

    def change(
        self, answer: Float[Tensor, "sample row"], left: Float[Tensor, "sample pre"], moments: Float[Tensor, "m m"]
    ) -> Float[Tensor, "row pre"]:
        """Return the change relative to the answers' second moment."""
        floor = FLOOR * moments.diagonal().mean() + torch.finfo(moments.dtype).tiny
        factor, _ = torch.linalg.cholesky_ex(moments + floor * torch.eye(len(moments)).to(moments))
        return (torch.cholesky_solve(answer.T, factor) @ left).div_(len(answer))

    def rate(self, updates: int) -> float:
        """Return the share of the last batch."""
        return max(self.learning_rate, 1 / (updates + WARM_UP))
