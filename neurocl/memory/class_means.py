"""Prototypes: one running mean a class."""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_count


class ClassMeans:
    r"""Sums and counts of features by class; the mean is :math:`\mu_c = \sum_{y_i = c} f_i / n_c`.

    Sums are kept in float64, so that the order of samples matters at the scale of 1e-16 alone.

    Args:
        features: Number of values in one feature vector.
    """

    def __init__(self, features: int) -> None:
        self.features = check_count("features", features)
        self._sums = torch.zeros(0, features, dtype=torch.float64)
        self._counts = torch.zeros(0, dtype=torch.int64)

    @property
    def bytes(self) -> int:
        """Bytes of sums and counts."""
        return self._sums.numel() * 8 + self._counts.numel() * 8

    @property
    def counts(self) -> Int64[Tensor, " label"]:
        """Number of samples by label."""
        return self._counts.clone()

    def update(self, features: Float[Tensor, "sample feature"], labels: Int64[Tensor, " sample"]) -> None:
        """Add samples."""
        self._add(features, labels, sign=1)

    def downdate(self, features: Float[Tensor, "sample feature"], labels: Int64[Tensor, " sample"]) -> None:
        """Take samples out again that were added before.

        Raises:
            BadInput: If a class has fewer samples than are to be taken out; nothing is changed then.
        """
        there = torch.zeros(int(labels.max()) + 1, dtype=torch.int64)
        there[: len(self._counts)] = self._counts[: len(there)]
        if bool((torch.bincount(labels.cpu(), minlength=len(there)) > there).any()):
            raise BadInput(
                "downdate takes out samples that were added before; some class has fewer than these labels name"
            )
        self._add(features, labels, sign=-1)

    def means(self) -> Float[Tensor, "label feature"]:
        """Return the mean of every label in float64; NaN where it has no samples."""
        return self._sums / self._counts.unsqueeze(1)

    def scores(self, features: Float[Tensor, "sample feature"]) -> Float[Tensor, "sample label"]:
        r"""Return :math:`-\|f - \mu_c\|^2` by label; minus infinity where a label has no samples."""
        means = self.means().to(features)
        # written out rather than by cdist, so that one row's score does not depend on the other rows of the batch
        distance = torch.stack([(features - mean).square().sum(1) for mean in means], dim=1)
        return (-distance).nan_to_num(nan=-torch.inf)

    def state_dict(self) -> dict[str, Any]:
        """Return sums and counts."""
        return {"sums": self._sums, "counts": self._counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self._sums, self._counts = state["sums"].clone(), state["counts"].clone()

    def _add(self, features: Tensor, labels: Tensor, *, sign: int) -> None:
        if features.ndim != 2 or features.shape[1] != self.features or len(features) != len(labels):
            raise BadInput(f"features must be [{len(labels)}, {self.features}]; got {list(features.shape)}")
        labels = labels.cpu()
        more = int(labels.max()) + 1 - len(self._counts)
        if more > 0:
            self._sums = torch.cat([self._sums, self._sums.new_zeros(more, self.features)])
            self._counts = torch.cat([self._counts, self._counts.new_zeros(more)])
        self._sums.index_add_(0, labels, features.detach().cpu().double(), alpha=sign)
        self._counts += sign * torch.bincount(labels, minlength=len(self._counts))
