"""Analysis of recorded activity: plain arrays in, plain arrays out. NumPy, lists and torch tensors alike are taken.

Axes: sample, time, neuron. A measure that has no value for what it is given raises :class:`NoValue`, a ``BadInput``, or
leaves NaN where it gives one value a neuron, pair or task.
"""

from neurocl.record.analysis.arrays import NoValue as NoValue
from neurocl.record.analysis.correlation import Correlogram as Correlogram
from neurocl.record.analysis.correlation import autocorrelogram as autocorrelogram
from neurocl.record.analysis.correlation import cross_correlogram as cross_correlogram
from neurocl.record.analysis.correlation import noise_correlation as noise_correlation
from neurocl.record.analysis.correlation import pairwise_correlation as pairwise_correlation
from neurocl.record.analysis.correlation import synchrony as synchrony
from neurocl.record.analysis.distances import van_rossum_distance as van_rossum_distance
from neurocl.record.analysis.distances import van_rossum_distances as van_rossum_distances
from neurocl.record.analysis.distances import victor_purpura_distance as victor_purpura_distance
from neurocl.record.analysis.distances import victor_purpura_distances as victor_purpura_distances
from neurocl.record.analysis.intervals import Intervals as Intervals
from neurocl.record.analysis.intervals import coefficient_of_variation as coefficient_of_variation
from neurocl.record.analysis.intervals import coefficient_of_variation_by_neuron as coefficient_of_variation_by_neuron
from neurocl.record.analysis.intervals import cv2 as cv2
from neurocl.record.analysis.intervals import cv2_by_neuron as cv2_by_neuron
from neurocl.record.analysis.intervals import interspike_intervals as interspike_intervals
from neurocl.record.analysis.intervals import intervals_by_neuron as intervals_by_neuron
from neurocl.record.analysis.intervals import local_variation as local_variation
from neurocl.record.analysis.intervals import local_variation_by_neuron as local_variation_by_neuron
from neurocl.record.analysis.rates import fano_factor as fano_factor
from neurocl.record.analysis.rates import firing_rates as firing_rates
from neurocl.record.analysis.rates import firing_rates_by_sample as firing_rates_by_sample
from neurocl.record.analysis.rates import fraction_silent as fraction_silent
from neurocl.record.analysis.rates import lifetime_sparseness as lifetime_sparseness
from neurocl.record.analysis.rates import population_rate as population_rate
from neurocl.record.analysis.rates import population_sparseness as population_sparseness
from neurocl.record.analysis.rates import smoothed_rate as smoothed_rate
from neurocl.record.analysis.rates import spike_counts as spike_counts
from neurocl.record.analysis.representation import METRICS as METRICS
from neurocl.record.analysis.representation import ClassMeans as ClassMeans
from neurocl.record.analysis.representation import Metric as Metric
from neurocl.record.analysis.representation import activity_drift as activity_drift
from neurocl.record.analysis.representation import class_dissimilarity as class_dissimilarity
from neurocl.record.analysis.representation import class_means as class_means
from neurocl.record.analysis.representation import linear_cka as linear_cka
from neurocl.record.analysis.representation import rdm_similarity as rdm_similarity
from neurocl.record.analysis.representation import representational_dissimilarity as representational_dissimilarity
from neurocl.record.analysis.representation import weight_drift as weight_drift
from neurocl.record.analysis.subspaces import activity_subspace as activity_subspace
from neurocl.record.analysis.subspaces import alignment_index as alignment_index
from neurocl.record.analysis.subspaces import captured_share as captured_share
from neurocl.record.analysis.subspaces import centred_activity_subspace as centred_activity_subspace
from neurocl.record.analysis.subspaces import principal_angles as principal_angles
from neurocl.record.analysis.subspaces import subspace_overlap as subspace_overlap
from neurocl.record.analysis.task_matrices import angle_matrix as angle_matrix
from neurocl.record.analysis.task_matrices import by_each_task as by_each_task
from neurocl.record.analysis.task_matrices import captured_matrix as captured_matrix
from neurocl.record.analysis.task_matrices import cka_matrix as cka_matrix
from neurocl.record.analysis.task_matrices import drift_matrix as drift_matrix
from neurocl.record.analysis.task_matrices import overlap_matrix as overlap_matrix
from neurocl.record.analysis.task_matrices import rdm_similarity_by_task as rdm_similarity_by_task
from neurocl.record.analysis.task_matrices import rdm_similarity_matrix as rdm_similarity_matrix
from neurocl.record.analysis.task_matrices import since_learnt as since_learnt
from neurocl.record.analysis.task_matrices import subspace_sizes as subspace_sizes
from neurocl.record.analysis.trains import SpikeTrains as SpikeTrains
from neurocl.record.analysis.trains import spike_trains as spike_trains
from neurocl.record.analysis.trains import trains_of_neuron as trains_of_neuron
from neurocl.record.analysis.trains import trains_of_sample as trains_of_sample

__all__ = [
    "METRICS",
    "ClassMeans",
    "Correlogram",
    "Intervals",
    "Metric",
    "NoValue",
    "SpikeTrains",
    "activity_drift",
    "activity_subspace",
    "alignment_index",
    "angle_matrix",
    "autocorrelogram",
    "by_each_task",
    "captured_matrix",
    "captured_share",
    "centred_activity_subspace",
    "cka_matrix",
    "class_dissimilarity",
    "class_means",
    "coefficient_of_variation",
    "coefficient_of_variation_by_neuron",
    "cross_correlogram",
    "cv2",
    "cv2_by_neuron",
    "drift_matrix",
    "fano_factor",
    "firing_rates",
    "firing_rates_by_sample",
    "fraction_silent",
    "interspike_intervals",
    "intervals_by_neuron",
    "lifetime_sparseness",
    "linear_cka",
    "local_variation",
    "local_variation_by_neuron",
    "noise_correlation",
    "overlap_matrix",
    "pairwise_correlation",
    "population_rate",
    "population_sparseness",
    "principal_angles",
    "rdm_similarity",
    "rdm_similarity_by_task",
    "rdm_similarity_matrix",
    "representational_dissimilarity",
    "since_learnt",
    "smoothed_rate",
    "spike_counts",
    "spike_trains",
    "subspace_overlap",
    "subspace_sizes",
    "synchrony",
    "trains_of_neuron",
    "trains_of_sample",
    "van_rossum_distance",
    "van_rossum_distances",
    "victor_purpura_distance",
    "victor_purpura_distances",
    "weight_drift",
]
