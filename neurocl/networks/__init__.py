"""Networks over time: layers between an encoding, a readout and a head; spiking and rate-coded alike.

Inputs are ``[B, ...]`` (static) or ``[T, B, ...]`` (sequences); signals ``[T, B, ...]``; scores ``[B, labels]``.
"""

from neurocl.networks.cnn import CNN, HLOPNet
from neurocl.networks.coding import TrainingMode, default_neuron, encoding_for, neuron_for
from neurocl.networks.encoding import Direct, Encoding, Frames, Latency, Poisson
from neurocl.networks.feature_maps import FeatureMap, FoldiakFeatures, PatchFeatures, RandomFeatures
from neurocl.networks.foldiak import FoldiakLayer
from neurocl.networks.heads import ExpandingHead, Head, MultiHead, SingleHead
from neurocl.networks.layers import Read
from neurocl.networks.mlp import MLP
from neurocl.networks.network import HeadName, Network, evaluating
from neurocl.networks.operations import Operations, count_operations
from neurocl.networks.population import mean_absolute_correlation, sparseness
from neurocl.networks.propagation import Feedback
from neurocl.networks.readout import Count, Membrane, Readout, WeightedRate
from neurocl.networks.recurrent import Recurrent
from neurocl.networks.resnet import ResNet18
from neurocl.networks.signal import LayerActivity, Signal
from neurocl.networks.synapses import Conv2d, Linear

__all__ = [
    "CNN",
    "MLP",
    "Conv2d",
    "Count",
    "Direct",
    "Encoding",
    "ExpandingHead",
    "FeatureMap",
    "Feedback",
    "FoldiakFeatures",
    "FoldiakLayer",
    "Frames",
    "HLOPNet",
    "Head",
    "HeadName",
    "Latency",
    "LayerActivity",
    "Linear",
    "Membrane",
    "MultiHead",
    "Network",
    "Operations",
    "PatchFeatures",
    "Poisson",
    "RandomFeatures",
    "Read",
    "Readout",
    "Recurrent",
    "ResNet18",
    "Signal",
    "SingleHead",
    "TrainingMode",
    "WeightedRate",
    "count_operations",
    "default_neuron",
    "encoding_for",
    "evaluating",
    "mean_absolute_correlation",
    "neuron_for",
    "sparseness",
]
