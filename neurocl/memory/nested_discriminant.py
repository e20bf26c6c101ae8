"""A closed-form readout for networks whose units freeze one after another: nobody's statistics ever go stale."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from neurocl.primitives.checks import BadInput, check_counts, check_finite, check_number

ENOUGH = 0.25  # share of a class's samples: means are then off by at most twice what all samples would give


@dataclass
class Level:
    """Statistics on the units that were frozen when a task ended.

    Attributes:
        mask: ``[unit]``: those units.
        counts: Samples by class.
        means: ``[F]`` by class.
        scatter: ``[F, F]``: products of deviations from the class means, summed over all classes.
    """

    mask: Bool[Tensor, " unit"]
    scatter: Float[Tensor, "feature feature"]
    counts: dict[int, int] = field(default_factory=dict)
    means: dict[int, Tensor] = field(default_factory=dict)


class NestedDiscriminant:
    r"""Linear discriminants on nested sets of units; two classes are told apart where both have valid statistics.

    When a task ends, units that are frozen from now on make a level: what they answer to old and new inputs stays as it
    is for ever. Classes of this and of later tasks add their statistics to it. On level :math:`l` with class means
    :math:`\mu` and pooled covariance :math:`\Sigma`, a sample has :math:`s_l(c) = x^\top \Sigma^{-1} \mu_c -
    \tfrac12 \mu_c^\top \Sigma^{-1} \mu_c`; its score is :math:`\sum_{c' \neq c} \log \sigma(s_l(c) - s_l(c'))` with the
    earlier of the two classes' own levels, on which both are known. Units that came later never enter a comparison with
    a class that knew them not. A class that comes back is known on the levels since then too; its own level is the last
    with at least a quarter of all its samples, :math:`n_l(c) \ge \tfrac14 n(c)`: the standard error of a mean,
    :math:`\sigma / \sqrt n`, is then at most twice what all samples would give, and a few that stray in do not decide.
    Where no class comes back, that is the last level that knows it. Levels that are no class's own, but for the last,
    decide nothing and are let go of, so that there is never more than one level more than classes.

    Args:
        layers: Sizes of the layers whose units are read, one after another; each layer's activity is scaled to
            length 1 on a level's units, so that a sample's total activity says nothing.
        shrinkage: Added to the covariance's diagonal, in its mean; larger trusts the covariance less.

    Source:
        Fisher 1936, The use of multiple measurements in taxonomic problems, for the discriminant; Hastie & Tibshirani
        1998, Classification by pairwise coupling, for the sum over pairs. What is ours: units that freeze, and levels.
    """

    def __init__(self, layers: Sequence[int], *, shrinkage: float = 0.01) -> None:
        self.layers = check_counts("layers", layers)
        self.shrinkage = check_number("shrinkage", shrinkage, above=0)
        self.levels: list[Level] = []
        self.counts: dict[int, int] = {}  # all samples of each class, on levels that were let go of too
        self._solved: list[tuple[Tensor, Tensor, list[int]]] = []

    def labels(self) -> list[int]:
        """Return the classes known, ascending."""
        return sorted({label for level in self.levels for label in level.counts})

    def open_level(self, mask: Bool[Tensor, " unit"]) -> None:
        """Begin a level of ``mask``'s units; one that adds no unit to the last level is not begun.

        Raises:
            BadInput: If ``mask`` has not one entry a unit, or leaves out a unit of an earlier level.
        """
        if mask.shape != (sum(self.layers),):
            raise BadInput(f"mask must have one entry for each of {sum(self.layers)} units; got {list(mask.shape)}")
        last = self.levels[-1].mask if self.levels else torch.zeros_like(mask)
        if bool((last & ~mask).any()):
            raise BadInput("mask must hold every unit of the levels before: frozen units stay frozen")
        size = int(mask.sum())
        if size > int(last.sum()):
            self.levels.append(Level(mask=mask.clone(), scatter=torch.zeros(size, size)))

    def begin_with(self, levels: list[Level]) -> None:
        """Take levels with their statistics over, in place of one's own."""
        self.levels, self._solved, self.counts = levels, [], most_of(levels)

    def update(self, activity: Float[Tensor, "sample unit"], labels: Int64[Tensor, " sample"]) -> None:
        """Add samples to the statistics of all levels, and let go of levels that decide nothing any more.

        Raises:
            BadInput: If activity is not finite; nothing has changed then.
        """
        check_finite("activity", activity)
        self._solved = []
        if self.levels:
            for label in labels.unique().tolist():
                self.counts[label] = self.counts.get(label, 0) + int((labels == label).sum())
        for level in self.levels:
            rows = self.scaled(activity, level.mask)
            level.scatter = level.scatter.to(rows)
            for label in labels.unique().tolist():
                self._add(level, label, rows[labels == label])
        needed = {*self._own().values(), len(self.levels) - 1}
        self.levels = [level for place, level in enumerate(self.levels) if place in needed]

    def scores(self, activity: Float[Tensor, "sample unit"]) -> Float[Tensor, "sample label"]:
        """Return a score for every label up to the largest known; ``-inf`` for those that are not."""
        known = self.labels()
        if not known:
            raise BadInput("no class is known yet: learn a task first")
        by_level = [self._on_level(activity, place) for place in range(len(self.levels))]
        scores = activity.new_full((len(activity), known[-1] + 1), -torch.inf)
        scores[:, known] = 0
        own = self._own()
        for place, first in enumerate(known):
            for second in known[place + 1 :]:
                level = min(own[first], own[second])  # who is known on a level is known on all before it
                margin = by_level[level][first] - by_level[level][second]
                scores[:, first] += functional.logsigmoid(margin)
                scores[:, second] += functional.logsigmoid(-margin)
        return scores

    def scaled(self, activity: Tensor, mask: Tensor) -> Float[Tensor, "sample feature"]:
        """Return the activity of a level's units, that of every layer scaled to length 1."""
        mask, parts, start = mask.to(activity.device), [], 0
        for size in self.layers:
            own = slice(start, start + size)
            parts.append(functional.normalize(activity[:, own][:, mask[own]], dim=1))
            start += size
        return torch.cat(parts, dim=1)

    @property
    def bytes(self) -> int:
        """Bytes of all statistics: the scatter's half, means, and masks, a bit a unit."""
        total = 0
        for level in self.levels:
            size = len(level.scatter)
            total += 4 * (size * (size + 1) // 2 + size * len(level.means)) + (len(level.mask) + 7) // 8
        return total

    def state_dict(self) -> dict[str, Any]:
        """Return all statistics; of a scatter, which is symmetric, the upper half."""
        return {
            "counts": {str(label): count for label, count in self.counts.items()},
            "levels": [
                {
                    "mask": level.mask,
                    "scatter": level.scatter[tuple(torch.triu_indices(*level.scatter.shape))],
                    "counts": {str(label): count for label, count in level.counts.items()},
                    "means": {str(label): mean for label, mean in level.means.items()},
                }
                for level in self.levels
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.levels, self._solved = [], []
        for kept in state["levels"]:
            size = int(kept["mask"].sum())
            scatter = torch.zeros(size, size)
            upper = tuple(torch.triu_indices(size, size))
            scatter[upper] = kept["scatter"].cpu()
            scatter = scatter.triu(1).T + scatter
            counts = {int(label): count for label, count in kept["counts"].items()}
            means = {int(label): mean.clone() for label, mean in kept["means"].items()}
            self.levels.append(Level(mask=kept["mask"].bool().cpu(), scatter=scatter, counts=counts, means=means))
        counts = state.get("counts", most_of(self.levels))  # files of before have none
        self.counts = {int(label): count for label, count in counts.items()}

    def _own(self) -> dict[int, int]:
        """Return the place of each class's own level: the last that has enough of its samples, else the richest."""
        own: dict[int, int] = {}
        for label in self.labels():
            counts = [level.counts.get(label, 0) for level in self.levels]
            enough = [place for place, count in enumerate(counts) if count >= ENOUGH * self.counts[label]]
            own[label] = enough[-1] if enough else counts.index(max(counts))
        return own

    def _add(self, level: Level, label: int, rows: Tensor) -> None:
        """Add samples of one class, by the update that keeps deviations from the mean exact."""
        count, mean = level.counts.get(label, 0), rows.mean(0)
        deviations = rows - mean
        level.scatter += deviations.T @ deviations
        if count:
            before = level.means[label].to(rows)
            apart = (mean - before)[:, None]
            level.scatter += apart @ apart.T * (count * len(rows) / (count + len(rows)))
            mean = before + (mean - before) * (len(rows) / (count + len(rows)))
        level.counts[label], level.means[label] = count + len(rows), mean

    def _on_level(self, activity: Tensor, place: int) -> dict[int, Tensor]:
        """Return the discriminant of every class that a level knows."""
        if not self._solved:
            self._solved = [self._solution(level) for level in self.levels]
        directions, offsets, labels = self._solved[place]
        rows = self.scaled(activity, self.levels[place].mask)
        answers = rows @ directions.to(rows) + offsets.to(rows)
        return dict(zip(labels, answers.unbind(1), strict=True))

    def _solution(self, level: Level) -> tuple[Tensor, Tensor, list[int]]:
        """Return directions ``[F, class]``, offsets and labels of a level; in float64, on its own scale."""
        labels = sorted(level.counts)
        if not labels:
            return torch.zeros(len(level.scatter), 0), torch.zeros(0), labels
        covariance = level.scatter.double() / sum(level.counts.values())
        means = torch.stack([level.means[label] for label in labels]).to(covariance)
        floor = self.shrinkage * float(covariance.diagonal().mean()) or 1.0  # constant activity: means alone decide
        covariance.diagonal().add_(floor)
        directions = torch.linalg.solve(covariance, means.T)
        return directions, -0.5 * (means.T * directions).sum(0), labels


def most_of(levels: list[Level]) -> dict[int, int]:
    """Return for each class the greatest number of samples that a level has."""
    labels = sorted({label for level in levels for label in level.counts})
    return {label: max(level.counts.get(label, 0) for level in levels) for label in labels}
