"""How a weight may change: lateral circuits, Hebbian rules, importance of weights, rewiring. Blind to memory."""

from neurocl.plasticity.activation_importance import activation_importance as activation_importance
from neurocl.plasticity.classp import CLASSP as CLASSP
from neurocl.plasticity.consolidation import OnlineEWC as OnlineEWC
from neurocl.plasticity.drive_gate import GATES as GATES
from neurocl.plasticity.drive_gate import DriveGate as DriveGate
from neurocl.plasticity.drive_gate import GateKind as GateKind
from neurocl.plasticity.eligibility import ThreeFactors as ThreeFactors
from neurocl.plasticity.eligibility import three_factor_drive as three_factor_drive
from neurocl.plasticity.fisher import FISHER_KINDS as FISHER_KINDS
from neurocl.plasticity.fisher import FisherKind as FisherKind
from neurocl.plasticity.fisher import fisher_diagonal as fisher_diagonal
from neurocl.plasticity.hebbian import anti_hebbian_step as anti_hebbian_step
from neurocl.plasticity.hebbian import hebbian_coupling as hebbian_coupling
from neurocl.plasticity.hebbian import oja_step as oja_step
from neurocl.plasticity.held_units import HeldUnits as HeldUnits
from neurocl.plasticity.lateral_attachment import LateralCircuits as LateralCircuits
from neurocl.plasticity.lateral_attachment import attach_lateral as attach_lateral
from neurocl.plasticity.lateral_circuit import LateralCircuit as LateralCircuit
from neurocl.plasticity.lateral_neurons import LateralNeurons as LateralNeurons
from neurocl.plasticity.lateral_neurons import LinearNeurons as LinearNeurons
from neurocl.plasticity.lateral_neurons import SettlingSpikes as SettlingSpikes
from neurocl.plasticity.lateral_neurons import SpikeRates as SpikeRates
from neurocl.plasticity.lateral_neurons import lateral_neurons as lateral_neurons
from neurocl.plasticity.lateral_reports import LayerReport as LayerReport
from neurocl.plasticity.lateral_rules import HebbianRule as HebbianRule
from neurocl.plasticity.lateral_rules import LateralRule as LateralRule
from neurocl.plasticity.lateral_rules import SimilarityMatching as SimilarityMatching
from neurocl.plasticity.rewiring import NEW_WEIGHTS as NEW_WEIGHTS
from neurocl.plasticity.rewiring import CapacityExhausted as CapacityExhausted
from neurocl.plasticity.rewiring import NewWeights as NewWeights
from neurocl.plasticity.rewiring import Rewired as Rewired
from neurocl.plasticity.saturating_step import HISTORIES as HISTORIES
from neurocl.plasticity.saturating_step import HistoryKind as HistoryKind
from neurocl.plasticity.saturating_step import Saturation as Saturation
from neurocl.plasticity.saturating_step import saturating_step as saturating_step
from neurocl.plasticity.stdp import STDP as STDP
from neurocl.plasticity.stdp import stdp_drive as stdp_drive
from neurocl.plasticity.structural_plasticity import StructuralPlasticity as StructuralPlasticity
from neurocl.plasticity.unit_layers import UnitLayer as UnitLayer
from neurocl.plasticity.unit_layers import unit_layers as unit_layers
from neurocl.plasticity.unit_ranks import NEVER as NEVER
from neurocl.plasticity.unit_selection import annealed_share as annealed_share
from neurocl.plasticity.unit_selection import most_active as most_active

__all__ = [
    "CLASSP",
    "FISHER_KINDS",
    "GATES",
    "HISTORIES",
    "NEVER",
    "NEW_WEIGHTS",
    "STDP",
    "CapacityExhausted",
    "DriveGate",
    "FisherKind",
    "GateKind",
    "HebbianRule",
    "HeldUnits",
    "HistoryKind",
    "LateralCircuit",
    "LateralCircuits",
    "LateralNeurons",
    "LateralRule",
    "LayerReport",
    "LinearNeurons",
    "NewWeights",
    "OnlineEWC",
    "Rewired",
    "Saturation",
    "SettlingSpikes",
    "SimilarityMatching",
    "SpikeRates",
    "StructuralPlasticity",
    "ThreeFactors",
    "UnitLayer",
    "annealed_share",
    "anti_hebbian_step",
    "attach_lateral",
    "fisher_diagonal",
    "hebbian_coupling",
    "lateral_neurons",
    "most_active",
    "oja_step",
    "saturating_step",
    "stdp_drive",
    "three_factor_drive",
    "unit_layers",
]
