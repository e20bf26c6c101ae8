"""What is kept of the past: raw samples, hidden activity, prototypes, sufficient statistics. Blind to plasticity.

Every memory has ``state_dict()``, ``load_state_dict()`` and counts its ``bytes``.
"""

from neurocl.memory.activation_replay import ActivationReplay as ActivationReplay
from neurocl.memory.activity_table import Reactivated as Reactivated
from neurocl.memory.class_means import ClassMeans as ClassMeans
from neurocl.memory.lots import lots as lots
from neurocl.memory.masked_neighbours import MaskedNeighbours as MaskedNeighbours
from neurocl.memory.nested_discriminant import NestedDiscriminant as NestedDiscriminant
from neurocl.memory.raw_replay import POLICIES as POLICIES
from neurocl.memory.raw_replay import Policy as Policy
from neurocl.memory.raw_replay import RawReplay as RawReplay
from neurocl.memory.raw_replay import Replayed as Replayed
from neurocl.memory.recursive_ridge import RecursiveRidge as RecursiveRidge
from neurocl.memory.time_compression import compressed_in_time as compressed_in_time

__all__ = [
    "POLICIES",
    "ActivationReplay",
    "ClassMeans",
    "MaskedNeighbours",
    "NestedDiscriminant",
    "Policy",
    "RawReplay",
    "Reactivated",
    "RecursiveRidge",
    "Replayed",
    "compressed_in_time",
    "lots",
]
