r"""Ridge regression from sufficient statistics: what is learnt task by task equals what is learnt at once.

With features H ``[n, F]`` and one-hot labels Y ``[n, C]`` the solution needs only :math:`A = H^\top H` and
:math:`B = H^\top Y`, both sums over samples. Adding samples, in any order and division, gives the same weights; taking
samples out gives the weights of training without them.
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from neurocl.memory.lots import lots
from neurocl.primitives.checks import BadInput, check_count, check_finite, check_number

DECADES = tuple(range(-7, 1))  # of strengths tried, relative to the mean of the diagonal of A
BLOCKS = 8  # of columns in one product: A is symmetric, and the blocks above its diagonal are left out
ROWS_AT_ONCE = 4096  # bounds the float64 copy of the features
UNCHOSEN = 1e-3  # relative strength while nothing is held out yet, or nothing else


class RecursiveRidge:
    r"""Ridge regression on one-hot labels, :math:`W^\top = (A + \lambda I)^{-1} B`.

    Args:
        features: Length F of a feature vector; a constant feature, if wanted, is the caller's.
        strength: Ridge strength :math:`\lambda`, in squared units of the features times samples; ``"auto"`` chooses it
            by the squared error on held-out training samples. Their statistics are kept apart, so that the error
            :math:`\mathrm{tr}(W A_h W^\top) - 2\,\mathrm{tr}(W B_h) + n_h` is exact for any strength without
            their features; the weights then come from all samples.
        held_out: Share of samples held out, for ``"auto"``; which ones depends on their ids and ``seed`` alone.
        seed: See ``held_out``.
        by_class: Keep A by class: C times the memory, and whole classes can be forgotten without their samples.
        dtype: Of the statistics.
        device: Of the statistics.

    Source:
        Zhuang et al. 2022 (ACIL) for the continual use. Differs: they recur on :math:`(A + \lambda I)^{-1}` by the
        Woodbury identity, which fixes the strength before the first sample and loses digits at every step; here sums
        are kept and solved when weights are wanted. The solutions are equal (tested). Forgetting by downdate: ACU.
    """

    def __init__(
        self,
        features: int,
        *,
        strength: float | Literal["auto"] = "auto",
        held_out: float = 0.1,
        seed: int = 0,
        by_class: bool = False,
        dtype: torch.dtype = torch.float64,
        device: str | torch.device = "cpu",
    ) -> None:
        self.features = check_count("features", features)
        if strength != "auto":
            strength = check_number("strength", strength, above=0)
        self.wanted_strength = strength
        self.held_out = check_number("held_out", held_out, above=0, below=1)
        self.seed = check_count("seed", seed, at_least=0)
        self.by_class = by_class
        sets = 2 if strength == "auto" else 1  # 0: used for every candidate; 1: held out
        # a column block of A holds the rows from its own first one downwards; `lower` says it as a whole
        self._gram = torch.zeros(sets, 0 if by_class else 1, features, features, dtype=dtype, device=device)
        self._moment = torch.zeros(sets, features, 0, dtype=dtype, device=device)
        self._counts = torch.zeros(sets, 0, dtype=torch.int64)
        self._weights: Tensor | None = None
        self._strength = math.nan

    @property
    def counts(self) -> Int64[Tensor, " label"]:
        """Number of samples by label."""
        return self._counts.sum(0)

    @property
    def bytes(self) -> int:
        """Bytes of the statistics."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (self._gram, self._moment, self._counts))

    @property
    def strength(self) -> float:
        """The strength that the present weights were solved with."""
        self.solve()
        return self._strength

    def update(
        self,
        features: Float[Tensor, "sample feature"],
        labels: Int64[Tensor, " sample"],
        *,
        sample_ids: Int64[Tensor, " sample"] | None = None,
    ) -> None:
        """Add samples; ``sample_ids`` are needed where the strength is chosen."""
        self._add(features, labels, sample_ids, sign=1)

    def downdate(
        self,
        features: Float[Tensor, "sample feature"],
        labels: Int64[Tensor, " sample"],
        *,
        sample_ids: Int64[Tensor, " sample"] | None = None,
    ) -> None:
        """Take out samples that were added before; what is left equals training without them.

        Raises:
            BadInput: If there are fewer samples of a class than are to be taken out; nothing is changed then.
        """
        self._add(features, labels, sample_ids, sign=-1)

    def forget(self, label: int) -> None:
        """Take out all samples of a class without seeing them again.

        Raises:
            BadInput: If the statistics are not kept by class, or no such class was learnt.
        """
        if not self.by_class:
            raise BadInput(
                "forget needs the statistics by class: build RecursiveRidge(..., by_class=True), "
                "or downdate with the samples"
            )
        if not 0 <= label < self._counts.shape[1] or not self.counts[label]:
            raise BadInput(f"forget needs a class that was learnt; got {label}")
        self._gram[:, label] = 0
        self._moment[:, :, label] = 0
        self._counts[:, label] = 0
        self._weights = None

    def solve(self) -> Float[Tensor, "label feature"]:
        """Return the weights ``[C, F]``; computed at the first call after a change."""
        if self._weights is None:
            if not self.counts.sum():
                raise BadInput("ridge weights need samples: call update before solve")
            self._strength = self._choose() if self.wanted_strength == "auto" else float(self.wanted_strength)
            weights = ridge_weights(symmetric(self._gram.sum((0, 1))), self._moment.sum(0), strength=self._strength)
            if weights is None:
                raise BadInput(
                    f"the ridge system is singular at strength {self._strength:g}: raise it, or leave it to 'auto'"
                )
            self._weights = weights
        return self._weights

    def scores(self, features: Float[Tensor, "sample feature"]) -> Float[Tensor, "sample label"]:
        """Return :math:`H W^T`; minus infinity where a label has no samples."""
        scores = features @ self.solve().to(features).T
        return scores.masked_fill((self.counts == 0).to(scores.device), -math.inf)

    def state_dict(self) -> dict[str, Any]:
        """Return statistics and weights."""
        return {
            "gram": self._gram,
            "moment": self._moment,
            "counts": self._counts,
            "weights": self._weights,
            "strength": self._strength,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self._gram = state["gram"].to(self._gram, copy=True)
        self._moment = state["moment"].to(self._moment, copy=True)
        self._counts = state["counts"].clone()
        self._weights = None if state["weights"] is None else state["weights"].to(self._gram, copy=True)
        self._strength = state["strength"]

    def _add(self, features: Tensor, labels: Tensor, sample_ids: Tensor | None, *, sign: int) -> None:
        """Add ``sign`` times the statistics of the samples."""
        labels = self._check(features, labels, sample_ids)
        self._make_room(int(labels.max()) + 1)
        sets = self._set_of(labels, sample_ids)
        change = torch.zeros_like(self._counts)
        change.index_put_((sets, labels), torch.ones_like(labels), accumulate=True)
        if bool((self._counts + sign * change < 0).any()):
            raise BadInput(
                "downdate takes out samples that were added before; some class has fewer than these labels name"
            )
        self._counts += sign * change
        groups = sets * (self._counts.shape[1] + 1) + (labels if self.by_class else 0)
        for group in groups.unique().tolist():
            places = (groups == group).nonzero().squeeze(1)
            which, label = int(sets[places[0]]), int(labels[places[0]])
            gram = self._gram[which, label if self.by_class else 0]
            for part in places.split(ROWS_AT_ONCE):
                rows = features[part.to(features.device)].detach().to(gram)
                add_gram(gram, rows, sign=sign)
                self._moment[which].T.index_add_(0, labels[part].to(rows.device), rows, alpha=sign)
        self._weights = None

    def _choose(self) -> float:
        """Return the strength of least squared error on the held-out samples: first by decades, then between them."""
        used, held = (symmetric(self._gram[which].sum(0)) for which in (0, 1))
        scale = float(used.diagonal().mean())
        if not self._counts[0].sum() or not self._counts[1].sum():
            total = symmetric(self._gram.sum((0, 1)))
            return UNCHOSEN * float(total.diagonal().mean()) or UNCHOSEN

        def error(exponent: float) -> float:
            weights = ridge_weights(used, self._moment[0], strength=scale * 10.0**exponent)
            if weights is None:
                return math.inf
            return float((weights @ held * weights).sum() - 2 * (weights.T * self._moment[1]).sum())

        errors = {exponent: error(exponent) for exponent in map(float, DECADES)}
        best = min(errors, key=errors.__getitem__)
        for between in (best - 0.5, best + 0.5):
            errors[between] = error(between)
        return scale * 10.0 ** min(errors, key=errors.__getitem__)

    def _set_of(self, labels: Tensor, sample_ids: Tensor | None) -> Int64[Tensor, " sample"]:
        """Return 1 for the samples that are held out, 0 for the others."""
        if self.wanted_strength != "auto" or sample_ids is None:
            return torch.zeros_like(labels)
        return (lots(sample_ids, self.seed, "held out") < int(self.held_out * 2.0**63)).long()

    def _make_room(self, labels: int) -> None:
        """Let there be a place for labels below ``labels``."""
        more = labels - self._counts.shape[1]
        if more <= 0:
            return
        sets, _, size, _ = self._gram.shape
        self._counts = torch.cat([self._counts, self._counts.new_zeros(sets, more)], dim=1)
        self._moment = torch.cat([self._moment, self._moment.new_zeros(sets, size, more)], dim=2)
        if self.by_class:
            self._gram = torch.cat([self._gram, self._gram.new_zeros(sets, more, size, size)], dim=1)

    def _check(self, features: Tensor, labels: Tensor, sample_ids: Tensor | None) -> Int64[Tensor, " sample"]:
        """Return the labels on the CPU, if everything can be used."""
        if features.ndim != 2 or features.shape[1] != self.features or len(features) != len(labels) or not len(labels):
            raise BadInput(f"features must be [{len(labels) or 'n'}, {self.features}]; got {list(features.shape)}")
        check_finite("features", features)
        if int(labels.min()) < 0:
            raise BadInput(f"labels must be whole numbers from 0; got {int(labels.min())}")
        if self.wanted_strength == "auto" and sample_ids is None:
            raise BadInput("sample_ids are needed to hold samples out: give them, or a number as strength")
        return labels.detach().cpu()


def add_gram(gram: Float[Tensor, "feature feature"], rows: Float[Tensor, "sample feature"], *, sign: int = 1) -> None:
    """Add ``sign`` times ``rows.T @ rows`` to ``gram`` in place; of blocks above the diagonal nothing is computed."""
    size = max(1, -(-rows.shape[1] // BLOCKS))
    for start in range(0, rows.shape[1], size):
        gram[start:, start : start + size].addmm_(rows[:, start:].T, rows[:, start : start + size], alpha=sign)


def symmetric(lower: Float[Tensor, "feature feature"]) -> Float[Tensor, "feature feature"]:
    """Return the symmetric matrix with this lower triangle."""
    return lower.tril() + lower.tril(-1).T


def ridge_weights(
    gram: Float[Tensor, "feature feature"], moment: Float[Tensor, "feature label"], *, strength: float
) -> Float[Tensor, "label feature"] | None:
    """Return the transpose of ``(gram + strength I)^-1 moment``; ``None`` where the system is not positive definite."""
    system = gram.clone()
    system.diagonal().add_(strength)
    factor, failed = torch.linalg.cholesky_ex(system)
    return None if int(failed) else torch.cholesky_solve(moment, factor).T.contiguous()
