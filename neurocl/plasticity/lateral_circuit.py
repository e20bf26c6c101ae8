r"""One layer's lateral circuit: neurons that learn what the layer's input was like, and subtract it from its trace.

Lateral weights H ``[row, pre]`` lead from the input to lateral neurons; the feedback is tied to :math:`-H^\top`, so
that the Hebbian change of H is the anti-Hebbian one of the feedback. Rows of earlier tasks are frozen and project; rows
of the task at hand learn and do not project yet.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.kernels.transforms import inside_autocast
from neurocl.plasticity.activity import check_activity, check_rows, energy_of
from neurocl.plasticity.lateral_neurons import LateralNeurons, LinearNeurons, check_neurons
from neurocl.plasticity.lateral_rules import HebbianRule, LateralRule, check_rule
from neurocl.plasticity.subspaces import complement, orthonormal_rows
from neurocl.primitives.checks import BadInput, check_count, check_name, check_number
from neurocl.primitives.seeding import generator

ORTHONORMALISE = ("never", "task", "update")
MEMORY = 0.9  # of the running energies: about the last 10 updates
PATIENCE = 16  # updates between two looks at what is left; fewer in the beginning of a task
RECENT = 512  # rows of activity that such a look is taken at


def in_own_type(method: Callable[..., None]) -> Callable[..., None]:
    """Let a method of a circuit compute in the type of its rows, whatever ``torch.autocast`` it is called in."""

    @wraps(method)
    def outside(circuit: "LateralCircuit", *args: Any, **options: Any) -> None:
        device = circuit.old.device.type
        with torch.autocast(device, enabled=False) if inside_autocast(device) else nullcontext():
            method(circuit, *args, **options)

    return outside


class LateralCircuit(nn.Module):
    r"""Lateral neurons on one input of ``inputs`` values.

    Per task: :meth:`grow`, then per batch :meth:`project` and :meth:`hebbian_update`, at the end :meth:`consolidate`.

    Args:
        inputs: Number of presynaptic values.
        rule: How rows learn: ``HebbianRule()``, as published, or ``SimilarityMatching()``.
        neurons: How lateral neurons answer; ``LinearNeurons()``, ``SpikeRates()`` or ``SettlingSpikes()``.
        orthonormalise: When the rows of the task are made orthonormal to one another and to the old ones: at the end of
            each ``"task"``, after each ``"update"`` too, or ``"never"``, as published.
        share: Grow by itself until the rows capture this share of the activity's energy (uncentred variance), as long
            as there is room; ``None`` keeps to the rows of :meth:`grow`. At the task's end, rows that the share does
            not need are dropped.
        seed: Source of the first weights of rows.

    Attributes:
        old: ``[old row, pre]`` frozen rows, which project.
        new: ``[new row, pre]`` rows of the task at hand, which learn.

    Source:
        Xiao et al. 2024, Hebbian learning based orthogonal projection, ICLR; Oja 1989 (subspace rule). Differs: old
        rows keep no momentum; deflation, orthonormalisation and rows by share are ours.
    """

    old: Tensor
    new: Tensor
    velocity: Tensor
    inhibition: Tensor
    moments: Tensor
    energy: Tensor
    lasting: Tensor
    rounding: Tensor
    recent: Tensor

    def __init__(
        self,
        inputs: int,
        *,
        rule: LateralRule | None = None,
        neurons: LateralNeurons | None = None,
        orthonormalise: str = "task",
        share: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.inputs = check_count("inputs", inputs)
        self.rule: LateralRule = HebbianRule() if rule is None else check_rule(rule)
        self.neurons: LateralNeurons = LinearNeurons() if neurons is None else check_neurons(neurons)
        self.orthonormalise = check_name("orthonormalise", orthonormalise, ORTHONORMALISE)
        self.share = None if share is None else check_number("share", share, above=0, below=1)
        self.seed = check_count("seed", seed, at_least=0)
        self.grown, self.updates = 0, 0  # times rows were added, names the draws; Hebbian updates in the task at hand
        self.explained: float | None = None  # share of the activity that rows captured at the end of the last task
        for name in ("old", "new", "velocity", "recent"):
            self.register_buffer(name, torch.empty(0, inputs))
        for name in ("inhibition", "moments"):  # between new rows; sum of their answers' second moments
            self.register_buffer(name, torch.empty(0, 0))
        self.register_buffer("energy", torch.zeros(2))  # running energy of the activity, and what no row explains
        self.register_buffer("lasting", torch.zeros(2))  # over the task: energy, and what old rows do not explain
        self.register_buffer("rounding", torch.zeros(2))  # running energy of old rows' drive, and what answers miss
        self.register_load_state_dict_pre_hook(self._resize_before_loading)

    @property
    def rows(self) -> int:
        """Number of lateral neurons."""
        return len(self.old) + len(self.new)

    @property
    def room(self) -> int:
        """Number of rows that can still be added: a space has no more directions than dimensions."""
        return max(0, self.inputs - self.rows)

    @property
    def captured(self) -> float:
        """Share of the last batches' energy that the rows explain, each batch before it was learnt; 0 before any."""
        total, left = self.energy.tolist()
        return 1.0 - left / total if total > 0 else 0.0

    @property
    def missed(self) -> float:
        """Share of the energy of the old rows' drive that answers in whole spikes miss; 0 for linear neurons."""
        drive, error = self.rounding.tolist()
        return error / drive if drive > 0 else 0.0

    @property
    def drift(self) -> float:
        r"""Largest entry of :math:`H H^\top - I`."""
        every = torch.cat([self.old, self.new])
        return float((every @ every.T - torch.eye(len(every)).to(every)).abs().max()) if len(every) else 0.0

    @in_own_type
    def grow(self, rows: int) -> None:
        """Add ``rows`` rows that learn, random and orthonormal to one another; 0 adds none.

        Raises:
            BadInput: If there is not so much room.
        """
        check_count("rows", rows, at_least=0)
        if rows > self.room:
            raise BadInput(
                f"rows must not exceed the room that is left, {self.room} of {self.inputs} dimensions; got {rows}: "
                "ask for fewer, or let rows='explained-variance' choose"
            )
        draws = torch.randn(self.inputs, rows, generator=generator(self.seed, "rows", self.grown), dtype=torch.float64)
        self._append(draws.T.to(self.old))

    def project(self, rows: Float[Tensor, "*sample pre"]) -> Float[Tensor, "*sample pre"]:
        r"""Return :math:`x - H^\top q(H x)` with the old rows: what they do not explain."""
        if not len(self.old):
            return rows
        flat = rows.reshape(-1, self.inputs)
        drive = flat @ self.old.T
        answer = self.neurons.respond(drive, self.old)
        if not self.neurons.linear:
            now = torch.stack([drive.square().sum(), (drive - answer).square().sum()]).detach()
            self.rounding.mul_(MEMORY).add_(now / max(1, len(flat)), alpha=1 - MEMORY)
        return torch.addmm(flat, answer, self.old, alpha=-1).view_as(rows)

    def answer_of(self, source: Float[Tensor, "sample pre"]) -> Float[Tensor, "sample row"]:
        """Return what the new rows answer to what reaches them, before feedback."""
        return self.neurons.feedforward(source @ self.new.T)

    @in_own_type
    @torch.no_grad()
    def hebbian_update(self, rows: Float[Tensor, "sample pre"]) -> None:
        r"""Let the new rows learn from activity, by the rule, from what the old rows leave over.

        As published, :math:`Y = q(X H^\top)`, :math:`E = X - Y H` over old and new rows, :math:`D = \mathrm{clamp}(
        Y^\top E / R)`, :math:`V \leftarrow m V + (1 - m) D`, :math:`H_{new} \leftarrow H_{new} + \eta V`. The old
        rows' part of E is the same in every iteration and computed once.

        Raises:
            BadInput: If the activity is not finite, or not as the weights are; nothing is changed then.
        """
        check_rows(rows, self.old)
        if rows.device.type == "cpu":  # elsewhere the host would wait; there `consolidate` looks
            check_activity(rows)
        self.learn_from(rows)

    def learn_from(
        self, rows: Float[Tensor, "sample pre"], unexplained: Float[Tensor, "sample pre"] | None = None
    ) -> None:
        """Do the same with activity that has been checked, and may have been projected already."""
        if not len(rows) or not (len(self.new) or self.share is not None):
            return
        unexplained = self.project(rows) if unexplained is None else unexplained
        answer, left = self.rule.learn(self, unexplained if self.rule.deflate else rows, unexplained)
        self._measure(rows, unexplained, answer, left)
        if self.orthonormalise == "update":
            self.new.copy_(orthonormal_rows(complement(self.new, self.old)))
        if self.share is not None and self._looks():
            self._recruit(share=self.share)

    def check_weights(self) -> None:
        """Refuse weights that are not finite.

        Raises:
            BadInput: With the way out.
        """
        if not bool(torch.isfinite(self.new).all()):
            raise BadInput(
                "lateral weights must be finite; their learning diverged: lower the learning rate of the HebbianRule, "
                "use SimilarityMatching, or scale the activity down"
            )

    @in_own_type
    def consolidate(self) -> None:
        """Freeze the new rows: from now on they project. Rows that add no direction are dropped, unless ``"never"``.

        Raises:
            BadInput: If lateral weights are not finite; nothing is changed then.
        """
        self.check_weights()
        if self.share is not None and self.updates:
            self.new = self._needed(share=self.share)
            self._recruit(share=self.share)
        new = self.new
        if self.orthonormalise != "never" and len(new):
            new = orthonormal_rows(complement(complement(new, self.old), self.old), drop=True)
        self.old = torch.cat([self.old, new])
        self.discard()
        self.explained = self.captured if self.updates else None
        if len(self.recent):
            left = self.recent - (self.recent @ self.old.T) @ self.old
            self.explained = 1.0 - float(left.square().sum() / self.recent.square().sum().clamp_min(1e-30))
        self.recent = self.recent[:0]
        self.updates = 0
        self.energy.zero_()
        self.lasting.zero_()

    def discard(self) -> None:
        """Take the new rows away."""
        self.new, self.velocity = self.old.new_empty(0, self.inputs), self.old.new_empty(0, self.inputs)
        self.inhibition, self.moments = self.old.new_empty(0, 0), self.old.new_empty(0, 0)

    def turn(self, transform: Float[Tensor, "row row"]) -> None:
        """Replace the new rows by sums of them, and everything known about them with them."""
        self.new = transform @ self.new
        self.inhibition = transform @ self.inhibition @ transform.T
        if self.share is not None:
            self.moments = transform @ self.moments @ transform.T

    def _measure(self, rows: Tensor, unexplained: Tensor, answer: Tensor, left: Tensor) -> None:
        """Keep energies, moments and recent activity: what share is captured, and which rows that takes."""
        total = energy_of(rows)
        now = torch.stack([total, energy_of(left)]) / len(rows)
        keep = min(MEMORY, self.updates / (self.updates + 1))
        self.energy.mul_(keep).add_(now, alpha=1 - keep)
        if self.share is not None:
            self.lasting += torch.stack([total, energy_of(unexplained)]) / len(rows)
            self.moments += (answer.T @ answer).div_(len(rows))
            self.recent = torch.cat([self.recent, rows[-RECENT:]])[-RECENT:]
        self.updates += 1

    def _looks(self) -> bool:
        """Whether it is time to see if rows are needed: after 1, 2, 4 and more updates, then every so many."""
        updates = self.updates
        return updates % PATIENCE == 0 if updates >= PATIENCE else updates.bit_count() == 1

    def _recruit(self, *, share: float) -> None:
        """Add rows along the strongest directions left over of recent activity, up to the share, if it is not met."""
        permitted = (1 - share) * self.recent.square().sum()
        unexplained = self.recent - (self.recent @ self.old.T) @ self.old
        if not self.room or float(complement(unexplained, self.new).square().sum()) <= permitted:
            return  # as far as rows are orthonormal
        left = complement(unexplained, orthonormal_rows(self.new))
        missing = float(left.square().sum() - permitted)
        if missing <= 0:
            return
        wide = len(left) <= self.inputs  # the smaller of two products that share their eigenvalues
        values, vectors = torch.linalg.eigh((left @ left.T if wide else left.T @ left).double())
        few = min(int((values.flip(0).cumsum(0) < missing).sum()) + 1, self.room)
        directions = vectors.flip(1).T[:few].to(left)
        self._append(directions @ left if wide else directions)

    def _append(self, directions: Tensor) -> None:
        """Add rows along ``directions``, orthonormal to one another, and to all other rows where these deflate."""
        if self.rule.deflate:
            others = torch.cat([self.old, orthonormal_rows(self.new)]) if len(self.new) else self.old
            directions = complement(complement(directions, others), others)
        fresh = orthonormal_rows(directions, drop=self.share is not None)
        self.grown += 1
        self.new = torch.cat([self.new, fresh])
        self.velocity = torch.cat([self.velocity, torch.zeros_like(fresh)])
        self.inhibition = torch.block_diag(self.inhibition, fresh.new_zeros(len(fresh), len(fresh)))
        self.moments = torch.block_diag(self.moments, fresh.new_zeros(len(fresh), len(fresh)))

    def _needed(self, *, share: float) -> Tensor:
        """Return the new rows turned to their principal axes over the task, without those the share does not need.

        Rows count for nothing before they were there, so that too many are kept rather than too few.
        """
        if not len(self.new):
            return self.new
        values, vectors = torch.linalg.eigh(self.moments.double() / self.updates)
        total, unexplained = (self.lasting.double() / self.updates).tolist()
        wanted = share * total - (total - unexplained)
        count = int((values.flip(0).cumsum(0) < wanted).sum()) + 1 if wanted > 0 else 0
        return vectors.flip(1).T[:count].to(self.new) @ self.new

    def get_extra_state(self) -> Tensor:
        """Return the counters, for the state dict."""
        return torch.tensor([self.grown, self.updates])

    def set_extra_state(self, state: Tensor) -> None:
        """Take over the counters."""
        self.grown, self.updates = (int(value) for value in state)

    def _resize_before_loading(self, _: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
        """Take the sizes of a checkpoint before ``nn.Module`` copies its tensors in."""
        for name in ("old", "new", "velocity", "recent", "inhibition", "moments"):
            stored = state.get(f"{prefix}{name}")
            if stored is not None:
                if name in ("old", "new", "velocity", "recent") and stored.shape[1] != self.inputs:
                    raise BadInput(f"rows must have {self.inputs} values as the layer's input; got {stored.shape[1]}")
                setattr(self, name, torch.empty_like(stored, device=self.old.device, dtype=self.old.dtype))
