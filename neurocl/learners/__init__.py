"""What learns from a stream of tasks: the contract in ``learner.py``, the loop in ``gradient_learner.py``."""

from neurocl.learners.contrastive import supervised_contrastive as supervised_contrastive
from neurocl.learners.cross_entropy import LOSS_MASKS as LOSS_MASKS
from neurocl.learners.cross_entropy import LossMask as LossMask
from neurocl.learners.cross_entropy import cross_entropy as cross_entropy
from neurocl.learners.dark_replay import DarkReplay as DarkReplay
from neurocl.learners.ewc import EWC as EWC
from neurocl.learners.ewc import ImportanceKind as ImportanceKind
from neurocl.learners.features import Features as Features
from neurocl.learners.gradient_learner import GradientLearner as GradientLearner
from neurocl.learners.gradient_learner import Part as Part
from neurocl.learners.gradient_learner import Step as Step
from neurocl.learners.gradient_learner import batch_loss as batch_loss
from neurocl.learners.joint import Joint as Joint
from neurocl.learners.lateral import Lateral as Lateral
from neurocl.learners.learner import Abilities as Abilities
from neurocl.learners.learner import Cost as Cost
from neurocl.learners.learner import Diverged as Diverged
from neurocl.learners.learner import Learner as Learner
from neurocl.learners.learner import Schedule as Schedule
from neurocl.learners.nearest_mean import NearestMean as NearestMean
from neurocl.learners.nispa import NISPALearner as NISPALearner
from neurocl.learners.optimisers import OPTIMISERS as OPTIMISERS
from neurocl.learners.optimisers import OptimiserName as OptimiserName
from neurocl.learners.optimisers import make_optimiser as make_optimiser
from neurocl.learners.pretrained import take_layers as take_layers
from neurocl.learners.protected_readout import ProtectedReadout as ProtectedReadout
from neurocl.learners.rehearsal import Rehearsal as Rehearsal
from neurocl.learners.replay import Replay as Replay
from neurocl.learners.replay import Weighting as Weighting
from neurocl.learners.replay_windows import ActivationWindow as ActivationWindow
from neurocl.learners.replay_windows import RawWindow as RawWindow
from neurocl.learners.replay_windows import Window as Window
from neurocl.learners.ridge_readout import RidgeReadout as RidgeReadout
from neurocl.learners.sparse_replay import SparseReplayLearner as SparseReplayLearner
from neurocl.learners.unit_readouts import Discriminants as Discriminants
from neurocl.learners.unit_readouts import Neighbours as Neighbours
from neurocl.learners.unit_readouts import UnitReadout as UnitReadout
from neurocl.learners.updates import Updates as Updates

__all__ = [
    "EWC",
    "LOSS_MASKS",
    "OPTIMISERS",
    "Abilities",
    "ActivationWindow",
    "Cost",
    "DarkReplay",
    "Discriminants",
    "Diverged",
    "Features",
    "GradientLearner",
    "ImportanceKind",
    "Joint",
    "Lateral",
    "Learner",
    "LossMask",
    "NISPALearner",
    "NearestMean",
    "Neighbours",
    "OptimiserName",
    "Part",
    "ProtectedReadout",
    "RawWindow",
    "Rehearsal",
    "Replay",
    "RidgeReadout",
    "Schedule",
    "SparseReplayLearner",
    "Step",
    "UnitReadout",
    "Updates",
    "Weighting",
    "Window",
    "batch_loss",
    "cross_entropy",
    "make_optimiser",
    "supervised_contrastive",
    "take_layers",
]
