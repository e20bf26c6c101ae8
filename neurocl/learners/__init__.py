"""What learns from a stream of tasks: the contract in ``learner.py``, the loop in ``gradient_learner.py``."""

from neurocl.learners.cross_entropy import LOSS_MASKS as LOSS_MASKS
from neurocl.learners.cross_entropy import LossMask as LossMask
from neurocl.learners.cross_entropy import cross_entropy as cross_entropy
from neurocl.learners.gradient_learner import GradientLearner as GradientLearner
from neurocl.learners.gradient_learner import Part as Part
from neurocl.learners.gradient_learner import Step as Step
from neurocl.learners.gradient_learner import batch_loss as batch_loss
from neurocl.learners.learner import Abilities as Abilities
from neurocl.learners.learner import Cost as Cost
from neurocl.learners.learner import Learner as Learner
from neurocl.learners.learner import Schedule as Schedule
from neurocl.learners.optimisers import OPTIMISERS as OPTIMISERS
from neurocl.learners.optimisers import OptimiserName as OptimiserName
from neurocl.learners.optimisers import make_optimiser as make_optimiser

__all__ = [
    "LOSS_MASKS",
    "OPTIMISERS",
    "Abilities",
    "Cost",
    "GradientLearner",
    "Learner",
    "LossMask",
    "OptimiserName",
    "Part",
    "Schedule",
    "Step",
    "batch_loss",
    "cross_entropy",
    "make_optimiser",
]
