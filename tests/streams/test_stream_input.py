"""What users bring: arrays, torch datasets, .npz files, options; and one clear line for what cannot be used."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from neurocl import streams
from neurocl.primitives.checks import BadInput, UnknownName
from neurocl.streams.builders import _READERS, BUILDERS, option_names
from neurocl.streams.five_datasets import five_datasets

X = np.random.default_rng(0).random((12, 4)).astype(np.float32)
Y = np.arange(12) % 4
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3, 6, 5), dtype=np.uint8)


def refused(message: str, call: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Check that a call raises one line of bad input that says ``message``."""
    with pytest.raises(BadInput, match=re.escape(message)) as error:
        call(*args, **options)
    assert "\n" not in str(error.value)


def with_value(value: float) -> np.ndarray:
    """Samples of which one value is replaced."""
    changed = X.copy()
    changed[3, 2] = value
    return changed


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (with_value(np.nan), "x_train must be finite; 1 of 48 values are NaN or infinite"),
        (with_value(np.inf), "x_train must be finite"),
        (np.full((12, 4), 1e300), "x_train must be finite"),
        (with_value(-3e38), "x_train must hold values within ±1.7e+38"),
        (torch.from_numpy(X).to_sparse(), "give it as x_train.to_dense()"),
        (X.astype(object), "x_train holds Python objects"),
        ([[1, 2], [3]] * 6, "x_train must be a regular array"),
        (X.astype(str), "x_train must hold integers or floating-point numbers; got dtype <U"),
        (X.astype(complex), "got dtype complex"),
        (X[:0], "x_train must hold at least one sample; got shape (0, 4)"),
        (X[:, :0], "got shape (12, 0)"),
        (X[:, 0], "x_train must be [samples, features] or images [samples, ...]; got shape (12,)"),
        (np.zeros((12, 2, 3, 4, 5)), "for sequences say layout='sequence'"),
        (np.zeros((12, 3, 6, 3)), "could have channels first or last"),
        (X[:7], "x_train and y_train must have the same length; got 7 samples and 12 labels"),
        (X[:, :3], "x_train and x_test must hold samples of one shape; got (3,) and (4,)"),
        (None, "x_train holds Python objects"),
        (3.0, "got shape ()"),
    ],
)
def test_training_samples_that_cannot_be_used_are_one_line(x: Any, message: str) -> None:
    refused(message, streams.split, x, Y, X, Y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(12, int), "y_train must name at least two classes to tell apart; it holds only 0"),
        (Y - 1, "y_train must hold labels from 0; got -1"),
        (Y.astype(np.uint64) + np.uint64(2**63), "y_train must hold labels below 2**63; got 9223372036854775811"),
        (np.array(["é".encode(), b"b"])[Y % 2], "y_train holds bytes that are no ASCII text"),
        (Y.astype(float), "y_train must hold whole numbers or strings; got dtype float64: convert with .astype(int)"),
        (np.array([None] * 12), "y_train holds Python objects"),
        (np.eye(4)[Y], "turn one-hot rows into numbers by argmax"),
        (Y[:5], "x_train and y_train must have the same length; got 12 samples and 5 labels"),
        (Y % 3, "every label of y_test must occur in y_train; 3 do not"),
        (Y.astype(str), "y_train and y_test must be of one kind"),
    ],
)
def test_training_labels_that_cannot_be_used_are_one_line(y: Any, message: str) -> None:
    refused(message, streams.split, X, y, X, Y)


def test_test_samples_are_checked_like_training_samples() -> None:
    refused("x_test must be finite", streams.split, X, Y, with_value(np.nan), Y)
    refused("x_test must hold at least one sample", streams.split, X, Y, X[:0], Y[:0])
    refused("y_test must hold labels from 0", streams.split, X, Y, X, Y - 1)
    refused("class '3' of split-data has no test samples", streams.split, X, Y, X[Y != 3], Y[Y != 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes_per_task": 0}, "classes_per_task must be a whole number of at least 1; got 0"),
        ({"classes_per_task": 5}, "classes_per_task must be at most the number of classes, 4; got 5"),
        ({"tasks": 3}, "tasks must share out 4 classes evenly; got tasks=3"),
        ({"tasks": 2, "classes_per_task": 2}, "give tasks or classes_per_task, not both"),
        ({"first_task_classes": 5}, "first_task_classes must be at most the number of classes"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"validation": 1.0}, "validation must be a finite number at least 0 and less than 1; got 1.0"),
        ({"judged_on": "validation"}, "judged_on='validation' needs samples to judge on: hold a share"),
        ({"judged_on": "train", "validation": 0.5}, "no judge named 'train'; known: test, validation"),
        ({"train_per_class": 0}, "train_per_class must be a whole number of at least 1"),
        ({"train_per_class": 1, "validation": 0.5}, "needs at least two training samples of every class"),
        ({"class_order": [0, 1, 2]}, "class_order must name each of the 4 classes"),
        ({"class_order": [0, 1, 2, 2]}, "class_order must name each of the 4 classes"),
        ({"normalise": (0.5, 0.0)}, "with deviations greater than 0"),
        ({"normalise": (0.5, np.nan)}, "finite"),
        ({"normalise": "published"}, "no published mean and deviation are known for split-data"),
    ],
)
def test_options_out_of_range_are_one_line(options: dict[str, Any], message: str) -> None:
    refused(message, streams.split, X, Y, X, Y, **options)


@pytest.mark.parametrize(
    ("option", "value", "close"),
    [
        ("setting", "class-incrementel", "class-incremental"),
        ("class_order", "seded", "seeded"),
        ("subset", "frist", "first"),
        ("normalise", "standardize", "standardise"),
        ("layout", "sequences", "sequence"),
    ],
)
def test_unknown_words_name_close_matches(option: str, value: str, close: str) -> None:
    with pytest.raises(UnknownName, match=f"did you mean '{close}'"):
        streams.split(X, Y, X, Y, **{option: value})


def test_options_of_the_other_builders_are_checked() -> None:
    refused("tasks must be a whole number", streams.permuted, X, Y, X, Y, tasks=0)
    refused("10 NumPy seeds for 11 tasks", streams.permuted, X, Y, X, Y, tasks=11, permutation="hlop")
    refused("no permutation named 'hlpo'", streams.permuted, X, Y, X, Y, permutation="hlpo")
    refused("a permutation seed must be", streams.permuted, X, Y, X, Y, tasks=1, permutation=[-4])
    refused("only images can be turned", streams.rotated, X, Y, X, Y)
    refused("angles must give one angle a task", streams.rotated, IMAGES, Y, IMAGES, Y, angles=[1.0, 2.0])
    refused("angles must give one angle a task; got none", streams.rotated, IMAGES, Y, IMAGES, Y, angles=[])
    refused("an angle must be a finite number", streams.rotated, IMAGES, Y, IMAGES, Y, tasks=1, angles=[np.nan])
    refused("blur must be", streams.blurry, X, Y, X, Y, blur=1.0)
    refused("disjoint must be", streams.blurry, X, Y, X, Y, disjoint=1.5)
    refused("no spread named", streams.blurry, X, Y, X, Y, spread="every")
    refused("needs at least two tasks", streams.blurry, X, Y, X, Y, classes_per_task=4)
    refused("no task id can be shown", streams.blurry, X, Y, X, Y, setting="task-incremental")
    refused("skew must be", streams.recurring, X, Y, X, Y, skew=0.0)
    refused("classes_per_task must be a whole number of at least 2", streams.recurring, X, Y, X, Y, classes_per_task=1)
    refused("at most the number of classes, 4", streams.recurring, X, Y, X, Y, classes_per_task=5)
    refused("samples_per_class", streams.recurring, X, Y, X, Y, samples_per_class=0)
    refused("novel must be a finite number at least 0.05", streams.episodic, X, Y, X, Y, novel=0.0)
    refused("novel must be", streams.episodic, X, Y, X, Y, novel=1.1)
    refused("share must be a finite number greater than 0 and at most 1", streams.episodic, X, Y, X, Y, share=0.0)
    refused("classes_per_task must be a whole number of at least 2", streams.episodic, X, Y, X, Y, classes_per_task=1)
    refused("at most the number of classes, 4", streams.episodic, X, Y, X, Y, classes_per_task=5)
    refused("at least two different datasets", five_datasets, ["digits"])
    refused("no dataset named 'minst'; did you mean 'mnist'", five_datasets, ["minst", "digits"])


def test_a_task_left_without_samples_is_refused() -> None:
    y = np.arange(3)  # three classes of one sample, each of which leaves home for a neighbour
    options = {"classes_per_task": 1, "blur": 0.9, "spread": "neighbours"}
    refused("has no training samples; give every task some", streams.blurry, X[:3], y, X[:3], y, **options)


def inputs_of(stream: streams.Stream, index: int = 0) -> torch.Tensor:
    """All training inputs of a task as they lie."""
    return torch.cat([batch.inputs for batch in stream.task(index).batches(100, -1)])


@pytest.mark.parametrize(
    ("layout", "array", "shape"),
    [
        ("auto", IMAGES[:, 0], (1, 6, 5)),
        ("auto", IMAGES, (3, 6, 5)),
        ("auto", IMAGES.transpose(0, 2, 3, 1), (3, 6, 5)),
        ("auto", np.zeros((12, 8, 6, 5)), (8, 6, 5)),
        ("channels-last", np.zeros((12, 8, 6, 5)), (5, 8, 6)),
        ("channels-first", np.zeros((12, 3, 6, 3)), (3, 6, 3)),
        ("channels-last", np.zeros((12, 3, 6, 3)), (3, 3, 6)),
        ("auto", np.zeros((12, 3, 4, 4)), (3, 4, 4)),
        ("auto", np.zeros((12, 4, 4, 3)), (3, 4, 4)),
        ("auto", X, (4,)),
    ],
)
def test_layouts_are_told_by_the_stated_rule(layout: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    stream = streams.split(array, Y, array, Y, layout=layout)
    assert stream.shape.input_shape == shape
    assert stream.shape.time_steps is None


def test_channels_last_images_are_the_same_images() -> None:
    one, two = (streams.split(each, Y, each, Y) for each in (IMAGES, IMAGES.transpose(0, 2, 3, 1)))
    assert torch.equal(inputs_of(one), inputs_of(two))
    assert one.digest == two.digest


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.uint32, np.float16, np.float32, np.float64, bool])
def test_every_kind_of_number_gives_the_same_inputs(kind: type) -> None:
    x = (X > 0.5).astype(kind)
    stream = streams.split(x, Y, x, Y, normalise="standardise")
    reference = streams.split((X > 0.5).astype(np.float64), Y, (X > 0.5).astype(np.float64), Y, normalise="standardise")
    assert torch.allclose(inputs_of(stream), inputs_of(reference), atol=1e-6)


def test_tensors_lists_and_strings_are_welcome() -> None:
    names = np.array(["dog", "ant", "cat", "bee"])[Y]
    stream = streams.split(torch.from_numpy(X), names, X.tolist(), names.tolist())
    assert stream.class_names == ("ant", "bee", "cat", "dog")
    ordered = streams.split(X, names, X, names, class_order=["dog", "cat", "bee", "ant"])
    assert ordered.class_names == ("dog", "cat", "bee", "ant")
    objects = streams.split(X, names.astype(object), X, names)
    assert objects.digest == streams.split(X, names, X, names).digest
    numerals = (Y * 7 + 2).astype(str)
    assert streams.split(X, numerals, X, numerals).class_names == ("2", "9", "16", "23")
    gaps = streams.split(X, Y * 7 + 2, X, Y * 7 + 2)
    assert gaps.class_names == ("2", "9", "16", "23")
    assert gaps.shape.num_classes == 4
    half = streams.split(torch.from_numpy(X).bfloat16(), torch.from_numpy(Y)[:, None], X, Y.tolist())
    assert half.task(0).size == 6


def test_changing_the_arrays_later_changes_no_stream() -> None:
    x, y = X.copy(), Y.copy()
    stream = streams.split(x, y, x, y)
    before = inputs_of(stream).clone()
    x[:], y[:] = -1.0, 0
    assert torch.equal(inputs_of(stream), before)
    assert stream.task(1).classes == (2, 3)


class Items(Dataset):
    """A torch dataset of given items."""

    def __init__(self, items: list[Any], **attributes: Any) -> None:
        self.items = items
        vars(self).update(attributes)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)


class Endless(IterableDataset):
    """A torch dataset without length."""

    def __iter__(self) -> Any:
        return iter([])


@pytest.mark.parametrize(
    "dataset",
    [
        TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
        Items([(x, int(y)) for x, y in zip(X, Y, strict=True)]),
        Items([(torch.from_numpy(x), torch.tensor([y])) for x, y in zip(X, Y, strict=True)]),
        Items(list(X), targets=torch.from_numpy(Y)),
        Items(list(X), targets=Y.tolist()),
        Items(list(X), targets=Y),
    ],
)
def test_torch_datasets_of_every_kind_give_the_same_stream(dataset: Dataset) -> None:
    reference = streams.split(X, Y, X, Y, seed=3)
    stream = streams.from_dataset(dataset, dataset, seed=3)
    assert stream.digest == reference.digest
    assert torch.equal(inputs_of(stream, 1), inputs_of(reference, 1))


def test_torch_datasets_give_every_kind_of_stream_and_keep_class_names() -> None:
    dataset = Items([(x, int(y)) for x, y in zip(IMAGES, Y, strict=True)], classes=["a", "b", "c", "d"])
    for kind in BUILDERS:
        stream = streams.from_dataset(dataset, dataset, kind=kind, name="mine")
        assert stream.name == "mine"
        assert any("a" in name for name in stream.class_names)
    assert len(streams.from_dataset(dataset, dataset, classes_per_task=1)) == 4


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Items([]), "train must hold at least one sample; it is empty"),
        (Items(list(X)), "train must give items (input, label), or inputs alone beside an attribute 'targets'"),
        (Items([{"x": 1}]), "train must give items (input, label)"),
        (Items([(X[0], 0), (X[0][:2], 1)]), "train must hold samples of one shape; got (2,) and (4,)"),
        (Items([(X[0], Y[:2]), (X[0], Y[:2])]), "train must hold one label a sample"),
        (Items([(X[0], None), (X[0], None)]), "y_train holds Python objects"),
        (Endless(), "train must be a map-style dataset"),
        (7, "train must be a map-style dataset with a length and items; got int"),
    ],
)
def test_torch_datasets_that_cannot_be_used_are_one_line(dataset: Any, message: str) -> None:
    refused(message, streams.from_dataset, dataset, TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)))


def saved(path: Path, **arrays: Any) -> str:
    """Save arrays, the four good ones by default."""
    np.savez_compressed(path, **{"x_train": X, "y_train": Y, "x_test": X, "y_test": Y, **arrays})
    return str(path)


def test_an_npz_file_is_a_stream_like_its_arrays(tmp_path: Path) -> None:
    path = saved(tmp_path / "mine.npz", y_train=Y.astype(str), y_test=Y.astype(str))
    stream = streams.open(path, seed=2, options={"classes_per_task": "1"})
    assert stream.name == "split-mine"
    assert stream.digest == streams.split(X, Y.astype(str), X, Y.astype(str), classes_per_task=1, seed=2).digest
    moved = streams.open(path, options={"kind": "permuted", "tasks": 2})
    assert (moved.name, moved.setting, len(moved)) == ("permuted-mine", "domain-incremental", 2)
    path = saved(tmp_path / "film.npz", x_train=X.reshape(12, 2, 2), x_test=X.reshape(12, 2, 2))
    assert streams.open(path, options={"layout": "sequence"}).shape.time_steps == 2


def test_npz_files_that_cannot_be_used_are_one_line(tmp_path: Path) -> None:
    refused("no file nowhere.npz", streams.open, "nowhere.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    refused("is no readable .npz file", streams.open, str(tmp_path / "text.npz"))
    (tmp_path / "empty.npz").write_bytes(b"")
    refused("is no readable .npz file", streams.open, str(tmp_path / "empty.npz"))
    path = saved(tmp_path / "whole.npz")
    content = Path(path).read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    refused("is no readable .npz file", streams.open, str(tmp_path / "cut.npz"))
    (tmp_path / "harmed.npz").write_bytes(content[:80] + bytes(40) + content[120:])
    refused("is no readable .npz file", streams.open, str(tmp_path / "harmed.npz"))
    np.savez(tmp_path / "half.npz", x_train=X, y=Y)
    refused("y_train, x_test, y_test missing, found x_train, y", streams.open, str(tmp_path / "half.npz"))
    refused("x_train", streams.open, saved(tmp_path / "nan.npz", x_train=with_value(np.nan)))
    objects = np.array([{"a": 1}] * 12)
    refused("y_train in", streams.open, saved(tmp_path / "objects.npz", y_train=objects))
    refused("neither the name of a stream nor an .npz file", streams.open, str(tmp_path / "data.csv"))
    refused("no option named 'classes_pertask'; did you mean", streams.open, path, options={"classes_pertask": 2})
    refused("no kind of stream named 'spilt'; did you mean 'split'", streams.open, path, options={"kind": "spilt"})


def changed_directory(path: Path, name: str, *, flag: int | None = None, method: int | None = None) -> str:
    """A copy of an archive whose members are called encrypted, or packed in another way."""
    content = bytearray(path.read_bytes())
    for mark, shift in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            if flag is not None:
                content[at + shift] |= flag
            if method is not None:
                content[at + shift + 2] = method
            at = content.find(mark, at + 4)
    (path.parent / name).write_bytes(bytes(content))
    return str(path.parent / name)


def test_npz_files_damaged_or_locked_in_rarer_ways_are_one_line(tmp_path: Path) -> None:
    path = Path(saved(tmp_path / "whole.npz"))
    refused("encrypted", streams.open, changed_directory(path, "locked.npz", flag=1))
    refused("compression", streams.open, changed_directory(path, "packed.npz", method=99))
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (12, "
    with zipfile.ZipFile(tmp_path / "cut_header.npz", "w") as archive:
        for key in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{key}.npy", header.ljust(127) + b"\n")
    refused("is no readable .npz file", streams.open, str(tmp_path / "cut_header.npz"))


def test_an_npz_file_that_claims_more_than_the_memory_is_refused(tmp_path: Path) -> None:
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1000), }"
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        for key in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{key}.npy", header.ljust(127) + b"\n")
    refused("is no readable .npz file", streams.open, str(tmp_path / "bomb.npz"))
    big = bytearray((tmp_path / "bomb.npz").read_bytes())
    at = big.index(b"PK\x01\x02")
    big[at + 24 : at + 28] = b"\xfe\xff\xff\xff"  # the directory claims 4 GiB for the first array
    (tmp_path / "claim.npz").write_bytes(bytes(big))
    with pytest.raises(BadInput, match=r"more than half of this machine's memory|no readable"):
        streams.open(str(tmp_path / "claim.npz"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("split-digit", "no stream named 'split-digit'; did you mean 'split-digits'"),
        ("permutted-mnist", "did you mean 'permuted-mnist'"),
        ("five-dataset", "did you mean 'five-datasets'"),
        ("", "no stream named ''"),
        ("mnist", "no stream named 'mnist'"),
    ],
)
def test_unknown_streams_name_close_matches(spec: str, message: str) -> None:
    refused(message, streams.open, spec)


def test_unknown_options_and_settings_are_refused_before_data_are_read() -> None:
    refused("no option named 'angels'; did you mean 'angles'", streams.open, "rotated-svhn", options={"angels": 1})
    refused("no option named 'angles'", streams.open, "split-svhn", options={"angles": 1})
    refused("no setting named 'class'", streams.open, "split-svhn", setting="class")
    refused("no option named 'kind'", streams.open, "split-digits", options={"kind": "split"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes_per_task", "two", "classes_per_task must be a whole number; got 'two'"),
        ("classes_per_task", "2.5", "classes_per_task must be a whole number; got '2.5'"),
        ("validation", "much", "validation must be a number; got 'much'"),
        ("normalise", "0.1,x", "normalise must be a number; got 'x'"),
        ("normalise", "1,2,3", "pair (mean, deviation)"),
        ("subset", 3, "subset must be a word; got 3"),
        ("class_order", "0,1", "class_order must name each of the 10 classes of digits once"),
    ],
)
def test_option_text_of_another_kind_is_one_line(name: str, text: Any, message: str) -> None:
    refused(message, streams.open, "split-digits", options={name: text})


def test_options_given_as_text_mean_what_values_mean() -> None:
    pairs = [
        ("split-digits", {"classes_per_task": "5"}, {"classes_per_task": 5}),
        ("split-digits", {"normalise": "0.5,0.25"}, {"normalise": (0.5, 0.25)}),
        ("split-digits", {"class_order": "9,8,7,6,5,4,3,2,1,0"}, {"class_order": list(range(9, -1, -1))}),
        ("split-digits", {"train_per_class": "none", "validation": "0.1"}, {"validation": 0.1}),
        ("permuted-digits", {"permutation": "4,5", "tasks": "2"}, {"permutation": [4, 5], "tasks": 2}),
        ("permuted-digits", {"permutation": "hlop"}, {"permutation": "hlop"}),
        ("rotated-digits", {"angles": "0, -30.5", "tasks": 2}, {"angles": [0, -30.5], "tasks": 2}),
        ("blurry-digits", {"blur": "0.25", "spread": "neighbours"}, {"blur": 0.25, "spread": "neighbours"}),
        ("recurring-digits", {"tasks": "3", "skew": "0.5"}, {"tasks": 3, "skew": 0.5}),
        ("episodic-digits", {"novel": "0.6", "share": "0.25"}, {"novel": 0.6, "share": 0.25}),
    ]  # fmt: skip
    for spec, text, values in pairs:
        assert streams.open(spec, options=text).digest == streams.open(spec, options=values).digest


def test_every_option_of_every_builder_can_be_read() -> None:
    for builder in (*BUILDERS.values(), five_datasets):
        assert set(option_names(builder)) <= set(_READERS)


def test_known_streams_are_those_that_open() -> None:
    known = {stream.name: stream for stream in streams.known()}
    assert {
        "split-digits",
        "permuted-mnist",
        "rotated-fashion-mnist",
        "recurring-mnist",
        "episodic-mnist",
        "five-datasets",
    } <= set(known)
    assert all(known[f"{kind}-digits"].present for kind in BUILDERS)
    for kind in BUILDERS:
        entry = known[f"{kind}-digits"]
        stream = streams.open(entry.name)
        assert (stream.name, stream.setting, stream.boundary) == (entry.name, entry.setting, entry.boundary)
        assert entry.setting in entry.settings
        assert "\n" not in entry.about


def test_a_stream_tells_what_it_is_on_one_line() -> None:
    told = repr(streams.open("split-digits"))
    assert told == (
        "split-digits: 5 class-incremental tasks (clear boundaries), 10 labels, "
        "1347 training samples of 1 x 8 x 8, seed 0"
    )
