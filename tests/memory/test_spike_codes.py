"""Do packed spikes come back, and take the bytes that the formula says?"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurocl.memory.activity_stores import STORES, CountStore, EventStore, QuantisedStore, RasterStore, spikes_of
from neurocl.memory.spike_codes import (
    bits_for,
    pack_eights,
    pack_events,
    pack_numbers,
    spread_evenly,
    take_events,
    unpack_eights,
    unpack_numbers,
    word,
)
from neurocl.primitives.checks import BadInput

SHAPES = st.tuples(st.integers(1, 20), st.integers(0, 5), st.integers(1, 40))  # steps, samples, neurons
DENSITIES = st.sampled_from([0.0, 0.02, 0.3, 1.0])


def raster(shape, density, seed=0):
    return np.random.default_rng(seed).random(shape) < density


@given(SHAPES, DENSITIES)
@pytest.mark.parametrize("kind", [RasterStore, EventStore])
def test_rasters_and_events_come_back_bit_for_bit(kind, shape, density):
    spikes = raster(shape, density)
    store = kind(shape[0], shape[2])
    back = store.decode(store.encode(spikes), None)
    assert back.dtype == np.float32
    assert np.array_equal(back, spikes.astype(np.float32))


@pytest.mark.parametrize("width", range(1, 65))
def test_eight_numbers_of_any_width_fill_as_many_bytes_bit_by_bit(width):
    kind = word(width)
    numbers = (np.random.default_rng(width).integers(0, 2**64, 40, np.uint64) >> np.uint64(64 - width)).astype(kind)
    codes = pack_eights(numbers, width)
    bits = "".join(f"{int(number):0{width}b}" for number in numbers)
    assert codes.tobytes() == bytes(int(bits[at : at + 8], 2) for at in range(0, 40 * width, 8))
    back = unpack_eights(codes, width)
    assert back.dtype == kind
    assert np.array_equal(back, numbers)
    assert pack_eights(numbers[:0], width).size == unpack_eights(codes[:0], width).size == 0


@given(SHAPES, DENSITIES)
def test_codes_of_events_are_what_files_hold(shape, density):
    """Addresses one behind the other, each sample filled up with zeros to a whole byte."""
    spikes = raster(shape, density)
    (steps, samples, neurons), events = shape, pack_events(spikes)
    width, wanted = bits_for(steps * neurons - 1), b""
    for sample in range(samples):
        bits = "".join(f"{place:0{width}b}" for place in np.flatnonzero(spikes[:, sample]))
        bits += "0" * (-len(bits) % 8)
        wanted += bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    assert events.codes.tobytes() == wanted
    assert events.counts.dtype == np.int32
    assert np.array_equal(events.counts, spikes.sum((0, 2)))


def test_events_of_many_samples_come_back_in_any_order_and_from_any_part():
    for steps, samples, neurons in ((8, 400, 784), (3, 60_000, 10), (90, 3, 4000)):  # more than go in at a time
        spikes = raster((steps, samples, neurons), 0.05)
        store, places = EventStore(steps, neurons), np.random.default_rng(1).permutation(samples)[:500]
        columns = store.encode(spikes)
        assert np.array_equal(store.decode(columns, None), spikes.astype(np.float32))
        taken = take_events(pack_events(spikes), places, steps * neurons)
        again = pack_events(spikes[:, places])
        assert np.array_equal(taken.codes, again.codes)
        assert np.array_equal(store.decode(taken._asdict(), None), spikes[:, places].astype(np.float32))


@given(SHAPES, DENSITIES)
def test_counts_come_back_and_so_do_their_sums(shape, density):
    spikes = raster(shape, density)
    store = CountStore(shape[0], shape[2])
    columns = store.encode(spikes)
    assert np.array_equal(store.decode(columns, None).sum(0), spikes.sum(0))
    assert np.array_equal(store.totals(columns), spikes.sum(0))


@given(SHAPES, DENSITIES)
def test_bytes_are_those_of_the_formula(shape, density):
    (steps, samples, neurons), spikes = shape, raster(shape, density)
    bits = {"raster": steps * neurons, "count": neurons * math.ceil(math.log2(steps + 1))}
    for name, wanted in bits.items():
        store = STORES[name](steps, neurons)
        assert store.encode(spikes)["codes"].nbytes == samples * math.ceil(wanted / 8) == store.bytes_for(samples)
    store, width = EventStore(steps, neurons), max(math.ceil(math.log2(steps * neurons)), 1)
    columns = store.encode(spikes)
    wanted = sum(4 + math.ceil(int(count) * width / 8) for count in spikes.sum((0, 2)))
    assert sum(column.nbytes for column in columns.values()) == wanted
    assert 0 <= wanted - store.bytes_for(samples, int(spikes.sum())) <= samples


@given(SHAPES, st.integers(1, 16), st.floats(-(2**90), 2**90, width=32), st.floats(0, 2**90, width=32))
def test_quantised_values_are_off_by_half_a_step_at_most(shape, bits, low, span):
    values = (np.random.default_rng(0).random(shape) * span + low).astype(np.float32)
    store = QuantisedStore(shape[0], shape[2], bits=bits)
    columns = store.encode(values)
    back = store.decode(columns, None)
    assert sum(column.nbytes for column in columns.values()) == store.bytes_for(shape[1])
    assert store.bytes_for(1) == math.ceil(shape[0] * shape[2] * bits / 8) + 8
    if values.size:
        step = (float(values.max()) - float(values.min())) / (2**bits - 1)
        rounding = 4 * np.spacing(np.abs(values).max()).astype(np.float64)
        assert np.abs(back.astype(np.float64) - values).max() <= step / 2 + rounding
        assert (back.min(), back.max()) == (values.min(), values.max())


def test_a_constant_survives_quantisation_exactly():
    values = np.full((3, 4, 5), 0.1, np.float32)
    store = QuantisedStore(3, 5)
    assert np.array_equal(store.decode(store.encode(values), None), values)


def test_a_range_beyond_float32_is_refused():
    values = np.array([[[-3e38, 3e38]]], np.float32)
    with pytest.raises(BadInput, match="activity must span a range that float32 holds; got -3"):
        QuantisedStore(1, 2).encode(values)


@given(st.integers(1, 16), st.integers(0, 4), st.integers(1, 30))
def test_numbers_of_any_width_come_back(bits, rows, size):
    numbers = np.random.default_rng(bits).integers(0, 2**bits, (rows, size)).astype(np.uint32)
    codes = pack_numbers(numbers, bits)
    assert codes.shape == (rows, math.ceil(size * bits / 8))
    assert np.array_equal(unpack_numbers(codes, bits, size), numbers)


def test_even_spacing_leaves_gaps_that_differ_by_one_step_at_most():
    steps = 12
    spikes = spread_evenly(np.arange(steps + 1, dtype=np.uint8)[None], steps)[:, 0]  # neuron n fires n times
    assert np.array_equal(spikes.sum(0), np.arange(steps + 1))
    for count in range(2, steps):
        gaps = np.diff(np.flatnonzero(spikes[:, count]))
        assert gaps.max() - gaps.min() <= 1
    assert np.flatnonzero(spikes[:, 1]) == [5]  # one spike falls in the middle, not at an end


def test_counts_as_chances_have_the_right_mean_and_are_binary():
    store = CountStore(8, 400, timing="bernoulli")
    spikes = raster((8, 20, 400), 0.3)
    columns = store.encode(spikes)
    back = store.decode(columns, np.random.default_rng(1))
    assert set(np.unique(back)) == {0.0, 1.0}
    assert abs(back.mean() - spikes.mean()) < 0.01  # 64,000 draws: deviation 0.002
    silent, sure = spikes.sum(0) == 0, spikes.sum(0) == 8
    assert not back[:, silent].any()
    assert back[:, sure].all()
    assert not np.array_equal(back, store.decode(columns, np.random.default_rng(2)))
    with pytest.raises(BadInput, match="generator must be given for timing='bernoulli'"):
        store.decode(columns, None)


@given(SHAPES, DENSITIES)
@pytest.mark.parametrize("name", STORES)
def test_taking_and_joining_samples_is_taking_and_joining_activity(name, shape, density):
    values = raster(shape, density) if STORES[name].spikes else raster(shape, density).astype(np.float32)
    store = STORES[name](shape[0], shape[2])
    columns = store.encode(values)
    places = np.random.default_rng(3).integers(0, shape[1], 4) if shape[1] else np.zeros(0, np.int64)
    whole = store.decode(columns, None)
    assert np.array_equal(store.decode(store.take(columns, places), None), whole[:, places])
    joined = store.join(store.take(columns, places), columns)
    assert np.array_equal(store.decode(joined, None), np.concatenate([whole[:, places], whole], 1))
    store.check(joined, len(places) + shape[1])


def test_events_take_less_than_a_raster_below_the_density_of_break_even_alone():
    steps, neurons = 8, 784
    for density, smaller in ((0.05, True), (0.1, False)):
        spikes = raster((steps, 50, neurons), density)
        sizes = [
            sum(column.nbytes for column in kind(steps, neurons).encode(spikes).values())
            for kind in (EventStore, RasterStore)
        ]
        assert (sizes[0] < sizes[1]) is smaller


def test_a_raster_of_eight_steps_takes_no_more_than_eight_bit_values():
    assert RasterStore(8, 4096).bytes_for(10) == 10 * 4096 < QuantisedStore(1, 4096).bytes_for(10)


@pytest.mark.parametrize("amplitude", [1.0, 0.3, -2.0])
def test_spikes_of_any_one_amplitude_are_recognised(amplitude):
    spikes = raster((3, 4, 5), 0.5)
    found, worth = spikes_of((spikes * amplitude).astype(np.float32), None)
    assert np.array_equal(found, spikes)
    assert worth == pytest.approx(amplitude)
    assert spikes_of(np.zeros((1, 1, 1), np.float32), None)[1] is None


@pytest.mark.parametrize("other", [np.nan, np.inf])
def test_values_that_are_not_finite_are_no_spikes(other):
    for values in ([[[0, 1, other]]], [[[other, other]]]):
        with pytest.raises(BadInput, match="activity must be finite"):
            spikes_of(np.array(values, np.float32), None)
        with pytest.raises(BadInput, match="activity must be finite"):
            QuantisedStore(1, len(values[0][0])).encode(np.array(values, np.float32))


@pytest.mark.parametrize("other", [0.5, -1.0])
def test_values_of_two_sizes_are_no_spikes(other):
    values = np.array([[[0, 1, other]]], np.float32)
    with pytest.raises(BadInput, match="activity must hold spikes, all 0 or one amplitude"):
        spikes_of(values, None)
    with pytest.raises(BadInput, match=r"got 1: cut before pooling"):
        spikes_of(np.array([[[0, 1]]], np.float32), 0.5)


def test_bits_for_counts_the_bits():
    assert [bits_for(n) for n in (0, 1, 2, 3, 4, 255, 256)] == [1, 1, 2, 2, 3, 8, 9]
