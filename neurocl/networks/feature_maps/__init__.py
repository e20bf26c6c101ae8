"""Fixed feature maps for closed-form readouts: random projections and patch features, spiking and rate-coded."""

from neurocl.networks.feature_maps.feature_map import FeatureMap
from neurocl.networks.feature_maps.patch_features import PatchFeatures
from neurocl.networks.feature_maps.random_features import RandomFeatures

__all__ = ["FeatureMap", "PatchFeatures", "RandomFeatures"]
