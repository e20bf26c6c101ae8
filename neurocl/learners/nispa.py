"""Phases of training and rewiring until a task has just the units it needs, which are then frozen: NISPA's learner."""

import math
import warnings
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, optim

from neurocl.learners.features import SeenClasses
from neurocl.learners.footprint import copied, measured, tensor_bytes
from neurocl.learners.gradient_learner import Step, batch_loss, check_batch
from neurocl.learners.held_out import AT_ONCE, HeldOut
from neurocl.learners.learner import Abilities, Cost, Diverged, Schedule
from neurocl.learners.optimisers import MakeOptimiser, with_names
from neurocl.learners.phases import Progress
from neurocl.learners.replay import Replay
from neurocl.learners.sparse_replay import unit_activity
from neurocl.learners.updates import Updates
from neurocl.networks import Network
from neurocl.plasticity import CapacityExhausted, NewWeights, StructuralPlasticity, annealed_share
from neurocl.plasticity.fisher import dense_products
from neurocl.primitives.checks import BadInput, check_count, check_number
from neurocl.primitives.tasks import Batch, Task

SMALLEST_SHARE = 0.05  # of activity: with fewer units no further phase is tried
FREE_PHASES = 2  # that cannot end a task


class NISPALearner:
    r"""Learns each task by cross-entropy in phases, between which units are chosen and connections rewired.

    After each phase the units that carry :math:`\tau_p` of a layer's activity
    (:func:`~neurocl.plasticity.annealed_share`) become candidates; plastic units lose their connections to candidates
    and stable units, and as many grow into plastic units. Output units of classes seen are never plastic. A task is
    done when, after phase 2, accuracy on held-out training samples falls by more than ``accuracy_drop`` below the best
    phase, or :math:`\tau_p \le 5\,\%`: weights, connections and candidates are then again what they were a phase
    before. Candidates become stable and freeze; all other weights are drawn anew. Later batches of a task that is done
    are passed over.

    Without ``replay`` (NISPA, task-incremental) output units freeze too, so that a task whose classes are all known
    changes no answer. With it (NISPA-Replay) they always learn, and the loss is
    :math:`CE(new) + \lambda_r\, CE(memory)`.

    Args:
        network: With a single head, which is the last layer of the chain.
        plasticity: Masks and ranks of the same network, head included; the head freezes at rank
            :data:`~neurocl.plasticity.NEVER` where ``replay`` is given.
        optimiser: Makes an optimiser from parameters; a new one for every phase.
        replay: Stored samples of all tasks; ``None``: none are stored.
        replay_strength: The paper's :math:`\lambda_r`; larger keeps old classes better and learns new ones less.
        batch_size: Samples a step.
        phases: Largest number of phases a task, at least 2.
        phase_epochs: Passes over the task's samples in a phase, of which the best is kept.
        accuracy_drop: The paper's :math:`a_f`, in percentage points; larger spends fewer units on a task.
        period: Phases until the share would be 0 (the paper's *k*); larger lets units go more slowly.
        new_weights: What grown connections weigh, see :meth:`~neurocl.plasticity.StructuralPlasticity.rewire`.
        validation_share: Share of the task's training samples that is never learnt from and ends phases.
        seed: Decides what is held out.
        name: What error messages call the learner.
        device: Where the network computes.

    Raises:
        BadInput: If a number is out of range, or the network has no single head at the end of the chain.

    Source:
        Gurbuz & Dovrolis 2022, NISPA, ICML, arXiv:2206.09117. Differs: logits of other tasks are masked by minus
        infinity (published: multiplied by 0); phases have a largest number, and the last keeps its network; which share
        is held out, and that the last of equally good epochs counts, is ours; candidates without input are demoted, as
        in the later code; see also :class:`~neurocl.plasticity.StructuralPlasticity`.
    """

    def __init__(
        self,
        network: Network,
        *,
        plasticity: StructuralPlasticity,
        optimiser: MakeOptimiser,
        replay: Replay | None = None,
        replay_strength: float = 5.0,
        batch_size: int = 128,
        phases: int = 26,
        phase_epochs: int = 5,
        accuracy_drop: float = 0.75,
        period: int = 30,
        new_weights: NewWeights = "normal",
        validation_share: float = 0.1,
        seed: int = 0,
        name: str = "nispa",
        device: str | torch.device = "cpu",
    ) -> None:
        self.network, self.plasticity, self.replay = network.to(device), plasticity, replay
        self.replay_strength = check_number("replay_strength", replay_strength, at_least=0)
        self.phases, self.phase_epochs = (
            check_count("phases", phases, at_least=2),
            check_count("phase_epochs", phase_epochs),
        )
        self.schedule = Schedule(batch_size=batch_size, epochs=self.phases * self.phase_epochs)
        self.accuracy_drop = check_number("accuracy_drop", accuracy_drop, at_least=0, at_most=100)
        self.period, self.new_weights = period, new_weights
        self.validation_share = check_number("validation_share", validation_share, above=0, below=1)
        if annealed_share(FREE_PHASES, period=period) <= SMALLEST_SHARE:
            raise BadInput(f"period must leave units to choose after {FREE_PHASES} phases, so at least 3; got {period}")
        if not plasticity.layers[-1].name.startswith("head."):
            raise BadInput(f"{name} needs a network with head='single', the last layer of the chain of plasticity")
        self.seed, self.name, self.device = seed, name, torch.device(device)
        self.abilities = Abilities(needs_boundaries=True, replays=replay is not None)
        self.steps = self.tasks_begun = 0
        self._updates = Updates(self.network)
        self._make_optimiser = self._updates.watching(optimiser)
        self._optimiser: optim.Optimizer | None = None
        self._classes = SeenClasses()
        self._progress: Progress | None = None
        self._report: dict[str, Any] = {}

    def begin_task(self, task: Task) -> None:
        """Begin, and set the samples apart that judge."""
        self.network.begin_task(task)
        self._classes.add(task)
        self.tasks_begun += 1
        self._updates.begin(task)
        sequence = self.network.shape.time_steps is not None
        held_out = HeldOut(task, share=self.validation_share, seed=self.seed, sequence=sequence)
        self._progress = Progress(task=task, held_out=held_out, densities=self.plasticity.present())
        self._renew_optimiser()

    def observe(self, batch: Batch) -> dict[str, float]:
        """Make one step, and end the epoch and the phase where it was their last; nothing once the task is done."""
        progress = self._progress
        if progress is None:
            raise BadInput(f"{self.name}: observe comes after begin_task, and before end_task")
        if progress.stopped:
            return {}
        check_batch(batch, self._classes.seen)
        own = progress.held_out.without(batch)
        losses = {} if own is None else self._learn(own, progress.task)
        progress.step += 1
        steps_an_epoch = math.ceil(progress.task.size / self.schedule.batch_size)
        if progress.step % steps_an_epoch == 0:
            self._end_epoch(progress)
        if progress.step % (steps_an_epoch * self.phase_epochs) == 0:
            self._end_phase(progress)
        return losses

    def end_task(self, task: Task) -> None:
        """Let candidates be stable, draw the weights of plastic units anew, and store samples; see the class."""
        progress = self._progress
        if progress is None or not progress.step:
            raise BadInput(f"{self.name}: a task must show a batch before it ends; task {task.index} showed none")
        if not progress.stopped:
            self._end_early(progress)
        self.network.zero_grad(set_to_none=True)
        if self._updates.wanted:
            self._updates.end(task)
        self._optimiser = self._progress = None
        self.plasticity.promote()
        self.plasticity.reinitialise()
        if self.replay is not None:
            self.replay.store_task(task)
        self._report = progress.report() | self._updates.named()
        if told := progress.lost_density(self.plasticity.present()):
            warnings.warn(f"{self.name}: {told}", CapacityExhausted, stacklevel=2)

    def predict(self, inputs: Tensor, task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return scores; columns of classes not seen, and of other tasks where ``task_id`` is given, are ``-inf``."""
        self._classes.check_begun(self.name)
        return self._classes.place(self._scores(inputs), task_id, name=self.name)

    def cost(self, probe: Tensor | None = None) -> Cost:
        """Count bytes of present connections alone; with ``probe`` measure operations and firing rates too."""
        weights = {f"{name}.weight" for name, _ in self.plasticity.afferents()}
        others = {name: tensor for name, tensor in self.network.state_dict().items() if name not in weights}
        return Cost(
            parameter_bytes=tensor_bytes(others) + 4 * self.plasticity.live_weights(),
            auxiliary_bytes=self.plasticity.byte_counts()[0],
            memory_bytes=self.replay.byte_counts()[1] if self.replay else 0,
            **measured(self.network, probe, present=self.plasticity.connections()),
        )

    def diagnostics(self) -> dict[str, Any]:
        """Return units by rank and density of each layer, and of the last task: phases, why it ended, last share."""
        return {"units": self.plasticity.diagnostics(), **self._report}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that outlives a task."""
        return copied(
            {
                "network": self.network.state_dict(),
                "plasticity": self.plasticity.state_dict(),
                "replay": self.replay.state_dict() if self.replay else None,
                "classes": self._classes.state_dict(),
                "steps": self.steps,
                "tasks_begun": self.tasks_begun,
                "updates": self._updates.state_dict(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; the learner must be built from the same config."""
        self.network.load_state_dict(state["network"])
        self.plasticity.load_state_dict(state["plasticity"])
        if self.replay:
            self.replay.load_state_dict(state["replay"])
        self._classes.load_state_dict(state["classes"])
        self.steps, self.tasks_begun = state["steps"], state["tasks_begun"]
        self._updates.load_state_dict(state["updates"])

    def _learn(self, batch: Batch, task: Task) -> dict[str, float]:
        """Make one step of gradient descent."""
        optimiser = cast(optim.Optimizer, self._optimiser)
        self.network.train()
        step = Step(
            network=self.network, batch=batch, competing=self._classes.seen if batch.task_id is None else task.classes,
            seen=self._classes.seen, tasks_begun=self.tasks_begun, number=self.steps,
        )  # fmt: skip
        losses = {"batch": batch_loss(step)}
        if self.replay is not None:
            losses["replay"] = self.replay_strength * self.replay.replayed(step)
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        if not all(map(math.isfinite, values.values())):
            raise Diverged(
                f"{self.name} diverged: loss {values} at step {self.steps}; lower the learning rate with "
                "--set learning_rate=..., or replay_strength"
            )
        optimiser.zero_grad(set_to_none=True)
        torch.stack([*losses.values()]).sum().backward()
        optimiser.step()
        self.steps += 1
        return values

    def _end_epoch(self, progress: Progress) -> None:
        """Keep the weights if no epoch of the phase was better; of equals the last counts, it has learnt longest."""
        task_id = progress.task.task_id
        accuracy = progress.held_out.accuracy(lambda inputs: self.predict(inputs.to(self.device), task_id))
        if progress.epoch is None or accuracy >= progress.epoch[0]:
            progress.epoch = accuracy, copied(self.network.state_dict())

    def _end_phase(self, progress: Progress) -> None:
        """Go back to the phase before if this one was worse, or choose fewer units and go on."""
        accuracy, weights = cast(tuple[float, dict[str, Tensor]], progress.epoch)
        self.network.load_state_dict(weights)
        progress.by_phase.append({"accuracy": accuracy, "share": progress.share})
        share = annealed_share(progress.phase, period=self.period)
        worse = progress.phase > FREE_PHASES and accuracy < progress.best - self.accuracy_drop / 100 - 1e-9
        if worse or share <= SMALLEST_SHARE:
            before, plasticity, progress.share = cast(Any, progress.before)
            self.network.load_state_dict(before)
            self.plasticity.load_state_dict(plasticity)
            progress.stopped = "accuracy" if worse else "share"
        elif progress.phase == self.phases:
            progress.stopped = "phases"
        else:
            progress.best = max(progress.best, accuracy)
            progress.before = weights, self.plasticity.state_dict(), progress.share
            self._isolate(progress, share)
            progress.phase, progress.epoch = progress.phase + 1, None
            self._renew_optimiser()

    def _end_early(self, progress: Progress) -> None:
        """Keep the best of a phase that was cut short, and choose units if none were chosen yet."""
        self._end_epoch(progress)
        self.network.load_state_dict(cast(tuple[float, dict[str, Tensor]], progress.epoch)[1])
        if progress.before is None:
            self._isolate(progress, annealed_share(1, period=self.period))
        progress.stopped = "batches"

    def _isolate(self, progress: Progress, share: float) -> None:
        """Choose the units that carry ``share`` of the activity, and rewire."""
        totals: list[Tensor] = []
        for batch in progress.task.batches(AT_ONCE, -1):
            own = progress.held_out.without(batch)
            if own is not None:
                activity = unit_activity(self.network, own.inputs.to(self.device))[:-1]  # without the head
                totals = [a + b for a, b in zip(totals, activity, strict=True)] if totals else activity
        silent = self.plasticity.select([*totals, None], share)
        self.plasticity.demote_unfed()
        self.plasticity.recruit(progress.task.classes)
        with warnings.catch_warnings():  # told once, at the end of the task
            warnings.simplefilter("ignore", CapacityExhausted)
            self.plasticity.rewire(new_weights=self.new_weights, keep_outlets=True)
        progress.share = share
        if silent and progress.by_phase:
            progress.by_phase[-1]["silent_layers"] = silent

    def _scores(self, inputs: Tensor) -> Tensor:
        """Return the head's scores by dense products: event by event, rounding would hang on other units' spikes."""
        with dense_products(self.network):
            return self.network.predict(inputs)

    def _renew_optimiser(self) -> None:
        optimiser = with_names(self._make_optimiser(self.network.parameters()), self.network)
        self._optimiser = self.plasticity.guard(optimiser)
