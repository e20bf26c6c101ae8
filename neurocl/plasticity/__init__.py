"""How a weight may change: importance of weights, consolidation. Blind to memory."""

from neurocl.plasticity.consolidation import OnlineEWC as OnlineEWC
from neurocl.plasticity.fisher import FISHER_KINDS as FISHER_KINDS
from neurocl.plasticity.fisher import FisherKind as FisherKind
from neurocl.plasticity.fisher import fisher_diagonal as fisher_diagonal

__all__ = ["FISHER_KINDS", "FisherKind", "OnlineEWC", "fisher_diagonal"]
