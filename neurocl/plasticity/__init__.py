"""How a weight may change: importance of weights, consolidation, Hebbian rules. Blind to memory."""

from neurocl.plasticity.consolidation import OnlineEWC as OnlineEWC
from neurocl.plasticity.fisher import FISHER_KINDS as FISHER_KINDS
from neurocl.plasticity.fisher import FisherKind as FisherKind
from neurocl.plasticity.fisher import fisher_diagonal as fisher_diagonal
from neurocl.plasticity.hebbian import anti_hebbian_step as anti_hebbian_step
from neurocl.plasticity.hebbian import hebbian_coupling as hebbian_coupling
from neurocl.plasticity.hebbian import oja_step as oja_step

__all__ = [
    "FISHER_KINDS",
    "FisherKind",
    "OnlineEWC",
    "anti_hebbian_step",
    "fisher_diagonal",
    "hebbian_coupling",
    "oja_step",
]
