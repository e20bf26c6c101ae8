"""Known datasets: are they read right, fetched right, and refused right?"""

import dataclasses
import gzip
import hashlib
import io
import lzma
import os
import re
import struct
import tarfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import torch

from neurocl import streams
from neurocl.primitives.checks import BadInput
from neurocl.streams.datasets import DATASETS, cifar, files, idx, load, svhn, usps
from neurocl.streams.datasets.sources import CIFAR10, MNIST, NOTMNIST, SVHN, Source

FOLDER = os.environ.get("NEUROCL_DATA", "")
needs_data = pytest.mark.skipif(
    not Path(FOLDER, "mnist").is_dir(), reason="NEUROCL_DATA is unset or lacks the datasets"
)
CLASS_COUNTS = {  # of the published or stated training and test parts; one number where all classes have it
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "fashion-mnist": ([6000] * 10, [1000] * 10),
    "notmnist": ([800] * 10, [200] * 10),
    "kannada-mnist": ([800] * 10, [200] * 10),
    "dig-mnist": ([820] * 10, [204] * 10),
    "usps": ([1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644], [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]),
    "digits": ([133, 136, 133, 137, 136, 136, 136, 134, 131, 135], [45, 46, 44, 46, 45, 46, 45, 45, 43, 45]),
}  # fmt: skip


def idx_bytes(array: np.ndarray) -> bytes:
    """An array as IDX."""
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def tiny_idx(folder: Path, *, labels: np.ndarray | None = None, per_class: int = 10, pack: str = ".gz") -> None:
    """A notMNIST test half of ``per_class`` images a class whose pixels tell class and number."""
    labels = np.arange(10 * per_class, dtype=np.uint8) % 10 if labels is None else labels
    images = np.zeros((10 * per_class, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(10 * per_class) % 10, np.arange(10 * per_class) // 10
    folder.mkdir(parents=True, exist_ok=True)
    opener = {".gz": gzip.open, ".xz": lzma.open, "": open}[pack]
    for name, array in (("t10k-images-idx3-ubyte", images), ("t10k-labels-idx1-ubyte", labels)):
        with opener(folder / (name + pack), "wb") as file:
            file.write(idx_bytes(array))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of datasets named by NEUROCL_DATA; notMNIST's checksums are not asked for."""
    monkeypatch.setenv("NEUROCL_DATA", str(tmp_path))
    monkeypatch.setattr(idx, "NOTMNIST", dataclasses.replace(NOTMNIST, contents={}))
    return tmp_path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No NEUROCL_DATA, and a cache folder of the test's own."""
    monkeypatch.delenv("NEUROCL_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "neurocl"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address it is served at, on this machine only."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # the inherited name
            pass

    (tmp_path / "served").mkdir()
    with HTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(tmp_path / "served"))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield tmp_path / "served", f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()


def one_line(error: pytest.ExceptionInfo[BadInput], *parts: object) -> None:
    """Check that a message is one line with these parts."""
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


@needs_data
@pytest.mark.parametrize("name", sorted(set(CLASS_COUNTS)))
def test_classes_have_the_published_numbers_of_samples(name: str) -> None:
    data = load(name)
    train, test = CLASS_COUNTS[name]
    assert np.bincount(data.train_classes).tolist() == train
    assert np.bincount(data.test_classes).tolist() == test
    assert tuple(data.train.shape[1:]) == DATASETS[name].input_shape
    assert len(data.class_names) == DATASETS[name].classes


@needs_data
@pytest.mark.parametrize(("name", "mean", "deviation"), [("mnist", 0.1307, 0.3081), ("fashion-mnist", 0.2860, 0.3530)])
def test_published_constants_are_those_of_the_data(name: str, mean: float, deviation: float) -> None:
    data = load(name)
    assert data.published == ((mean,), (deviation,))
    shares = np.bincount(data.train.numpy().ravel(), minlength=256) / data.train.numel()
    values = np.arange(256) / 255
    assert (shares * values).sum() == pytest.approx(mean, abs=6e-5)
    assert (shares * (values - mean) ** 2).sum() ** 0.5 == pytest.approx(deviation, abs=6e-5)


@needs_data
@pytest.mark.parametrize(("name", "train", "test"), [("cifar10", 1000, 200), ("cifar100", 125, 25)])
def test_the_cifar_subsets_are_read_with_channels_and_names_in_place(name: str, train: int, test: int) -> None:
    data = load(name)
    assert set(np.bincount(data.train_classes)) == {train}
    assert set(np.bincount(data.test_classes)) == {test}
    assert data.published is not None
    means = data.train.double().mean((0, 2, 3)) / 255
    assert torch.allclose(means, torch.tensor(data.published[0], dtype=torch.float64), atol=0.01)  # a subset
    assert data.class_names[:2] == {"cifar10": ("airplane", "automobile"), "cifar100": ("apple", "aquarium_fish")}[name]


@needs_data
def test_superclasses_join_five_classes_each() -> None:
    fine, coarse = load("cifar100"), load("cifar100-superclasses")
    assert len(coarse.class_names) == 20
    pairs = set(zip(fine.train_classes.tolist(), coarse.train_classes.tolist(), strict=True))
    assert len(pairs) == 100
    assert set(np.bincount([superclass for _, superclass in pairs])) == {5}
    assert torch.equal(fine.train, coarse.train)


@needs_data
def test_mnist_loads_in_well_under_a_second_and_once() -> None:
    start = time.process_time()
    idx.load_mnist()
    assert time.process_time() - start < 1.0
    assert load("mnist") is load("mnist")


def test_the_protocol_split_of_digits_is_stratified_with_seed_0() -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, _ = train_test_split(images, labels, test_size=0.25, stratify=labels, random_state=0)
    stream = streams.open("split-digits", options={"classes_per_task": 10})
    batch = next(iter(stream.task(0).batches(2000, -1)))
    assert np.allclose(batch.inputs.flatten(1).numpy(), x_train / 16)
    assert np.allclose(stream.test(0).inputs.flatten(1).numpy(), x_test / 16)
    assert batch.labels.tolist() == y_train.tolist()


def test_sets_without_a_training_part_give_every_fifth_of_a_class_to_the_test(root: Path) -> None:
    for pack in (".gz", ".xz", ""):
        tiny_idx(root / f"folder{len(pack)}" / "notmnist", pack=pack)
    for folder in sorted(root.iterdir()):
        os.environ["NEUROCL_DATA"] = str(folder)
        data = idx.load_notmnist()
        assert data.class_names == tuple("ABCDEFGHIJ")
        assert data.test[:, 0, 0, 1].tolist() == [4] * 10 + [9] * 10
        assert data.test[:, 0, 0, 0].tolist() == data.test_classes.tolist() == list(range(10)) * 2
        assert sorted(data.train[:, 0, 0, 1].unique().tolist()) == [0, 1, 2, 3, 5, 6, 7, 8]


def test_a_missing_set_says_where_to_place_it(root: Path) -> None:
    with pytest.raises(BadInput) as error:
        load("mnist")
    one_line(error, "MNIST is missing", root / "mnist/MNIST/raw", "train-images-idx3-ubyte", "unset NEUROCL_DATA")
    assert not any(root.iterdir())
    assert not DATASETS["mnist"].present
    assert DATASETS["digits"].present


def test_a_folder_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEUROCL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(BadInput) as error:
        load("mnist")
    one_line(error, "NEUROCL_DATA must name a folder", "nowhere")


@needs_data
@pytest.mark.parametrize("harm", ["truncated", "flipped", "replaced"])
def test_a_harmed_mnist_file_is_named(root: Path, harm: str) -> None:
    source, name = Path(FOLDER, "mnist/MNIST/raw"), "t10k-labels-idx1-ubyte"
    folder = root / "mnist/MNIST/raw"
    folder.mkdir(parents=True)
    for file in source.iterdir():
        (folder / file.name).symlink_to(file.resolve())
    content = (source / f"{name}.gz").read_bytes()
    (folder / f"{name}.gz").unlink()
    if harm == "truncated":
        (folder / f"{name}.gz").write_bytes(content[: len(content) // 2])
    elif harm == "flipped":
        (folder / f"{name}.gz").write_bytes(content[:2000] + bytes([content[2000] ^ 255]) + content[2001:])
    else:
        (folder / name).write_bytes(idx_bytes(np.zeros(10_000, np.uint8)))
    with pytest.raises(BadInput) as error:
        load("mnist")
    one_line(error, name, "replace it")


def test_broken_idx_files_are_named(root: Path) -> None:
    folder = root / "notmnist"
    images, labels = folder / "t10k-images-idx3-ubyte", folder / "t10k-labels-idx1-ubyte"
    tiny_idx(folder, pack="")
    whole, names = images.read_bytes(), labels.read_bytes()
    harms = [
        (images, b"", "no IDX file"),
        (images, b"\0\0\x0d\3" + whole[4:], "no IDX file"),
        (images, names, "no IDX file"),
        (images, whole[:-1], "bytes after its header"),
        (images, whole + b"x", "bytes after its header"),
        (images, whole[:4] + b"\xff" * 12 + whole[16:], "bytes after its header"),
        (labels, idx_bytes(np.full(100, 10, np.uint8)), "labels from 0 to 9; it holds 10"),
        (labels, idx_bytes(np.zeros(99, np.uint8)), "one label for each of 100 images; it holds 99"),
        (labels, idx_bytes(np.zeros(100, np.uint8)), "at least two classes"),
    ]
    for path, content, rule in harms:
        images.write_bytes(whole)
        labels.write_bytes(names)
        path.write_bytes(content)
        with pytest.raises(BadInput, match=re.escape(rule)) as error:
            idx.load_notmnist()
        one_line(error, path.name if "classes" not in rule else "notMNIST")


@pytest.mark.parametrize("pack", [".gz", ".xz"])
def test_a_cut_or_foreign_packed_file_is_named(root: Path, pack: str) -> None:
    folder = root / "notmnist"
    tiny_idx(folder, pack=pack)
    path = folder / f"t10k-images-idx3-ubyte{pack}"
    content = path.read_bytes()
    for harmed in (content[:-20], b"", b"no archive at all", content[:40] + b"\0" * 40 + content[80:]):
        path.write_bytes(harmed)
        with pytest.raises(BadInput) as error:
            idx.load_notmnist()
        one_line(error, path, "replace it")


def test_a_file_that_unpacks_without_end_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST_FILE", 1000)
    tiny_idx(root / "notmnist")
    with pytest.raises(BadInput, match="unpacks to more than 1000 bytes"):
        idx.load_notmnist()


def cifar_records(count: int, kinds: tuple[int, ...], seed: int = 0) -> bytes:
    """Records whose first pixel tells the class."""
    records = np.random.default_rng(seed).integers(0, 256, (count, len(kinds) + 3072), dtype=np.uint8)
    for column, number in enumerate(kinds):
        records[:, column] = np.arange(count) % number
    records[:, len(kinds)] = records[:, len(kinds) - 1]
    return records.tobytes()


def test_all_five_cifar_files_or_only_the_first(root: Path) -> None:
    folder = root / "cifar10/cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "test_batch.bin").write_bytes(cifar_records(20, (10,)))
    (folder / "data_batch_1.bin.xz").write_bytes(lzma.compress(cifar_records(30, (10,))))
    data = cifar.load_cifar10()
    assert data.train.shape == (30, 3, 32, 32)
    assert data.train[:, 0, 0, 0].tolist() == data.train_classes.tolist()
    (folder / "data_batch_2.bin").write_bytes(cifar_records(10, (10,), seed=2))
    with pytest.raises(BadInput) as error:
        cifar.load_cifar10()
    one_line(error, "data_batch_3.bin, data_batch_4.bin, data_batch_5.bin missing")
    for number in (3, 4, 5):
        (folder / f"data_batch_{number}.bin.gz").write_bytes(gzip.compress(cifar_records(10, (10,), seed=number)))
    assert len(cifar.load_cifar10().train) == 70


def test_broken_cifar_files_are_named(root: Path) -> None:
    folder = root / "cifar100"
    folder.mkdir()
    (folder / "test.bin").write_bytes(cifar_records(200, (20, 100)))
    for content, rule in [
        (b"", "records of 3074 bytes"),
        (cifar_records(200, (20, 100))[:-5], "records of 3074 bytes"),
        (b"\x00\x64" + cifar_records(200, (20, 100))[2:], "label outside its range"),
        (b"\x14\x00" + cifar_records(200, (20, 100))[2:], "label outside its range"),
    ]:
        (folder / "train.bin").write_bytes(content)
        with pytest.raises(BadInput, match=rule) as error:
            cifar.load_cifar100()
        one_line(error, folder / "train.bin")
    (folder / "train.bin").write_bytes(cifar_records(300, (20, 100)))
    assert cifar.load_cifar100().class_names[99] == "99"  # no names file: numbers
    assert len(cifar.load_cifar100_superclasses().class_names) == 20


def test_broken_usps_files_are_named(root: Path) -> None:
    (root / "usps").mkdir()
    row = " ".join(["-1.0"] * 256)
    good = "".join(f"{label}.0000 {row}\n" for label in range(10))
    (root / "usps/zip.test.gz").write_bytes(gzip.compress(good.encode()))
    for text, rule in [
        ("", "no table of numbers"),
        ("1 2 3\n4 5\n", "no table of numbers"),
        (good + "a b\n", "no table of numbers"),
        (good.replace("3.0000", "11.000"), "a label (0 to 9)"),
        (good.replace("-1.0", "-2.0", 1), "256 values from -1 to 1"),
        (good.replace("-1.0", "nan", 1), "256 values from -1 to 1"),
    ]:
        (root / "usps/zip.train.gz").write_bytes(gzip.compress(text.encode()))
        with pytest.raises(BadInput, match=re.escape(rule)) as error:
            usps.load_usps()
        one_line(error, root / "usps/zip.train.gz")


def test_svhn_is_read_from_matlab_files_and_its_ten_is_a_zero(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    (root / "svhn").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
    hashes = {}
    for name in ("train_32x32.mat", "test_32x32.mat"):
        savemat(root / "svhn" / name, {"X": images, "y": np.arange(20)[:, None] % 10 + 1})
        hashes[name] = "md5:" + hashlib.md5((root / "svhn" / name).read_bytes(), usedforsecurity=False).hexdigest()
    with pytest.raises(BadInput, match="not the published SVHN file"):
        svhn.load_svhn()
    monkeypatch.setattr(svhn, "SVHN", dataclasses.replace(SVHN, hashes=hashes))
    data = svhn.load_svhn()
    assert data.train_classes.tolist() == [*range(1, 10), 0] * 2
    assert int(data.train[7, 2, 5, 6]) == int(images[5, 6, 2, 7])


def local(served: Path, address: str, *, wrong: bool = False) -> Source:
    """notMNIST as published at the local server."""
    tiny_idx(served)
    hashes = {
        file.name: "sha256:" + hashlib.sha256(b"" if wrong else file.read_bytes()).hexdigest()
        for file in served.iterdir()
    }
    return dataclasses.replace(NOTMNIST, address=address, hashes=hashes, contents={})


def test_a_set_is_downloaded_once_with_its_checksum_verified(
    cache: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idx, "NOTMNIST", local(*server))
    assert len(idx.load_notmnist().train) == 80
    assert sorted(file.name for file in (cache / "notmnist").iterdir()) == [
        "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
    ]  # fmt: skip
    for file in server[0].iterdir():
        file.unlink()
    assert len(idx.load_notmnist().test) == 20  # from the cache


def test_a_download_with_a_wrong_checksum_is_refused_and_leaves_nothing(
    cache: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idx, "NOTMNIST", local(*server, wrong=True))
    with pytest.raises(BadInput) as error:
        idx.load_notmnist()
    one_line(error, server[1], "its checksum is wrong")
    assert not (cache / "notmnist").exists()


@pytest.mark.parametrize("missing", ["file", "server"])
def test_no_network_is_one_line_that_says_what_to_do(
    cache: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    source = local(*server)
    (server[0] / "t10k-images-idx3-ubyte.gz").unlink()
    if missing == "server":
        source = dataclasses.replace(source, address="http://127.0.0.1:9/")  # the port nobody listens on
    monkeypatch.setattr(idx, "NOTMNIST", source)
    with pytest.raises(BadInput) as error:
        idx.load_notmnist()
    one_line(error, source.address, "check the network", "NEUROCL_DATA", "data/README.md")
    assert not (cache / "notmnist").exists()


def test_a_set_that_cannot_be_downloaded_says_how_to_place_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "NOTMNIST", dataclasses.replace(NOTMNIST, address=""))
    with pytest.raises(BadInput, match="place it there"):
        idx.load_notmnist()
    with pytest.raises(BadInput, match="cannot be downloaded"):
        files.fetch(NOTMNIST, "train-images-idx3-ubyte")
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_one_line(
    cache: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    monkeypatch.setattr(idx, "NOTMNIST", local(*server))
    with pytest.raises(BadInput) as error:
        idx.load_notmnist()
    one_line(error, "could not download notMNIST")


def test_an_archive_is_unpacked_where_its_files_belong(
    cache: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, address = server
    with tarfile.open(served / "cifar.tar.gz", "w:gz") as archive:
        for name in (*cifar.BATCHES, "test_batch.bin", "../../escape.bin"):
            content = cifar_records(10, (10,))
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    digest = hashlib.md5((served / "cifar.tar.gz").read_bytes(), usedforsecurity=False).hexdigest()
    source = dataclasses.replace(CIFAR10, address=address, hashes={"cifar.tar.gz": f"md5:{digest}"})
    monkeypatch.setattr(cifar, "CIFAR10", source)
    assert len(cifar.load_cifar10().train) == 50
    folder = cache / "cifar10/cifar-10-batches-bin"
    assert {file.name for file in folder.iterdir()} == {*cifar.BATCHES, "test_batch.bin", "escape.bin"}


def test_a_broken_archive_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.tar.gz").write_bytes(gzip.compress(b"no tar" * 500)[:-10])
    with pytest.raises(BadInput, match="cannot be unpacked"):
        files.extract(tmp_path / "broken.tar.gz", tmp_path)


def test_every_download_has_a_checksum_and_every_set_a_source() -> None:
    for name, dataset in DATASETS.items():
        source = dataset.source
        if source is None:
            assert name == "digits"
            continue
        assert source.address.startswith(("https://", "http://ufldl"))
        for checksum in source.hashes.values():
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", checksum)
        wanted = {Path(file).stem for file in source.hashes} | set(source.hashes)
        assert source.archive or set(dataset.files) <= wanted
    assert set(MNIST.contents) == {Path(file).stem for file in MNIST.hashes}


@needs_data
def test_files_at_hand_have_the_checksums_of_the_table() -> None:
    for source in {id(d.source): d.source for d in DATASETS.values() if d.source is not None}.values():
        for name, checksum in source.hashes.items():
            path = files.find(source, Path(name).stem)
            if path is not None and path.suffix == ".gz" and not source.archive:
                assert checksum == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_page_on_datasets_has_every_set_file_and_checksum() -> None:
    page = (Path(__file__).parents[2] / "data" / "README.md").read_text()
    for name, dataset in DATASETS.items():
        assert f"| `{name}` |" in page
        for file, checksum in ({} if dataset.source is None else dataset.source.hashes).items():
            assert file in page
            assert checksum.split(":")[1] in page
        for folder in () if dataset.source is None else dataset.source.folders[:1]:
            assert f"── {folder}/" in page
