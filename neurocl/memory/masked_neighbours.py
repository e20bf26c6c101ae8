"""A readout without weights: stored vectors of every class, each compared on the units its class was learnt with."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from neurocl.primitives.checks import BadInput, check_count


@dataclass
class Remembered:
    """What is kept of one class.

    Attributes:
        vectors: ``[n, unit]``, 0 outside the mask.
        mask: ``[unit]``: units that were not idle when the class was learnt.
    """

    vectors: Float[Tensor, "sample unit"]
    mask: Bool[Tensor, " unit"]


class MaskedNeighbours:
    r"""Class-incremental readout from a few vectors a class and the units that those are valid on.

    A sample is :math:`d = \lVert h_m / \lVert h_m \rVert - v_m / \lVert v_m \rVert \rVert` away from a stored vector,
    on the mask m of the vector's class; the nearest vectors of all classes vote. What is silent on a mask is 1 away
    from every vector that is not, and 0 from those that are; of vectors equally near those of smaller labels vote,
    whatever was remembered first. A class without units is infinitely far.

    Args:
        neighbours: Number of votes; equal votes go to the class of the nearest vector.

    Source:
        Gurbuz, Moorman & Dovrolis 2023, SHARP. Differs: ties there go to the smallest label.
    """

    def __init__(self, *, neighbours: int = 5) -> None:
        self.neighbours = check_count("neighbours", neighbours)
        self.classes: dict[int, Remembered] = {}

    def remember(self, label: int, vectors: Float[Tensor, "sample unit"], mask: Bool[Tensor, " unit"]) -> None:
        """Keep ``vectors`` of a class, in place of what was kept of it."""
        if not len(vectors):
            raise BadInput(f"class {label} must have at least one vector; got none")
        if not bool(torch.isfinite(vectors).all()):
            raise BadInput(f"vectors of class {label} must be finite: the network diverged")
        self.classes[label] = Remembered((vectors.detach() * mask).float(), mask.clone())

    def scores(self, features: Float[Tensor, "sample unit"]) -> Float[Tensor, "sample label"]:
        """Return a score for every label up to the largest remembered; ``-inf`` for those that were not."""
        if not self.classes:
            raise BadInput("no class is remembered yet: learn a task first")
        scores = features.new_full((len(features), max(self.classes) + 1), -torch.inf)
        distances = {label: self.distances(features, label) for label in sorted(self.classes)}
        every = torch.cat(list(distances.values()), dim=1)
        owner = torch.cat([torch.full((d.shape[1],), label) for label, d in distances.items()])
        nearest = every.sort(dim=1, stable=True).indices[:, : self.neighbours]
        for label, own in distances.items():
            votes = (owner.to(nearest.device)[nearest] == label).sum(1)
            scores[:, label] = votes + (1 - own.amin(1) / 2.001) / 2  # distances are at most 2
        return scores

    def distances(self, features: Tensor, label: int) -> Float[Tensor, "sample vector"]:
        """Return distances to the vectors of a class, on its units."""
        kept = self.classes[label]
        mask = kept.mask.to(features.device)
        if not bool(mask.any()):
            return features.new_full((len(features), len(kept.vectors)), torch.inf)
        there = functional.normalize(kept.vectors.to(features)[:, mask], dim=1)
        here = functional.normalize(features[:, mask], dim=1)
        return torch.cdist(here, there, compute_mode="donot_use_mm_for_euclid_dist")

    @property
    def bytes(self) -> int:
        """Bytes of vectors, on their masks alone, and of masks, a bit a unit."""
        return sum(
            4 * len(one.vectors) * int(one.mask.sum()) + (len(one.mask) + 7) // 8 for one in self.classes.values()
        )

    def state_dict(self) -> dict[str, Any]:
        """Return vectors, on their masks alone, and masks."""
        return {
            str(label): {"vectors": one.vectors[:, one.mask], "mask": one.mask} for label, one in self.classes.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.classes = {}
        for label, kept in state.items():
            mask = kept["mask"].bool()
            vectors = torch.zeros(len(kept["vectors"]), len(mask))
            vectors[:, mask] = kept["vectors"]
            self.classes[int(label)] = Remembered(vectors, mask)
