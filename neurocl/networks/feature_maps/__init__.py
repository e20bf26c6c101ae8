"""Fixed feature maps for closed-form readouts: random projections, patches, Földiák's circuit; spiking and not."""

from neurocl.networks.feature_maps.feature_map import FeatureMap
from neurocl.networks.feature_maps.foldiak_features import FoldiakFeatures
from neurocl.networks.feature_maps.patch_features import PatchFeatures
from neurocl.networks.feature_maps.random_features import RandomFeatures

__all__ = ["FeatureMap", "FoldiakFeatures", "PatchFeatures", "RandomFeatures"]
