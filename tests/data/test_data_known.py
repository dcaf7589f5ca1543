"""Data sets known by name: where they are looked for, in which forms, and what is said when they cannot be had."""

import gzip
import io
import os
import tarfile
from hashlib import md5
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from twinlens.data import idx, known
from twinlens.data.download import download
from twinlens.data.load import load
from twinlens.data.pictures import Pictures
from twinlens.errors import InputError

RNG = np.random.default_rng(0)
FASHION = RNG.integers(0, 256, (12, 28, 28), dtype=np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 10


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder; nothing else is found, and there is no network."""
    monkeypatch.setenv("TWINLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TWINLENS_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(known, "_SYSTEM", (tmp_path / "system",))
    monkeypatch.setattr("twinlens.data.download.urlopen", no_network)
    return tmp_path / "data"


def no_network(url: str, timeout: float) -> None:
    raise URLError("Name or service not known")


def pixels(pictures: Pictures) -> NDArray[np.uint8]:
    return np.asarray(pictures.fetch(torch.arange(len(pictures)))[0])


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def put_idx(folder: Path, zipped: bool) -> None:
    folder.mkdir(parents=True)
    for name, array in zip(idx.FILES, (FASHION, LABELS, FASHION[:4], LABELS[:4]), strict=True):
        content = idx_bytes(array)
        (folder / f"{name}.gz" if zipped else folder / name).write_bytes(gzip.compress(content) if zipped else content)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("where", ["data", "system", "cache/datasets"])
def test_idx_files_are_found_wherever_they_may_lie(tmp_path: Path, where: str, zipped: bool) -> None:
    put_idx(tmp_path / where / "fashion-mnist", zipped)
    split = load("fashion-mnist")
    assert split.test is not None
    assert (pixels(split.train)[..., 0] == FASHION).all()
    assert split.train.labels is not None
    assert split.train.labels.tolist() == LABELS.tolist()
    assert (pixels(split.test)[..., 0] == FASHION[:4]).all()
    assert split.train.classes[:2] + split.train.classes[-1:] == ("T-shirt/top", "Trouser", "Ankle boot")
    assert split.train.notes == ()
    assert (pixels(load(tmp_path / where / "fashion-mnist").train)[..., 0] == FASHION).all()  # named by its folder


def test_the_users_own_folder_comes_first(tmp_path: Path, place: Path) -> None:
    put_idx(tmp_path / "system" / "mnist", zipped=True)
    np.savez(place.with_suffix(".npz"), x_train=FASHION[::-1], y_train=LABELS, x_test=FASHION, y_test=LABELS)
    place.mkdir()
    place.with_suffix(".npz").rename(place / "mnist.npz")
    assert (pixels(load("mnist").train)[..., 0] == FASHION[::-1]).all()
    assert load("mnist").train.classes == tuple("0123456789")


@pytest.mark.parametrize("damage", ["cut", "not idx", "cut gzip"])
def test_a_damaged_idx_file_is_named(place: Path, damage: str) -> None:
    put_idx(place / "mnist", zipped=damage == "cut gzip")
    name = idx.FILES[0] + ".gz" * (damage == "cut gzip")
    content = (place / "mnist" / name).read_bytes()
    (place / "mnist" / name).write_bytes(b"<html>" if damage == "not idx" else content[:-5])
    with pytest.raises(InputError, match=name):
        load("mnist")


def test_digits_are_split_by_class_and_always_alike() -> None:
    split = load("digits")
    assert split.test is not None
    assert (len(split.train), len(split.test), split.train.shape) == (1437, 360, (8, 8, 1))
    assert split.train.labels is not None
    assert split.test.labels is not None
    share = np.bincount(split.test.labels) / np.bincount(np.r_[split.train.labels, split.test.labels])
    assert np.abs(share - 0.2).max() < 0.005
    both = np.concatenate([pixels(split.train), pixels(split.test)]).astype(np.float64).sum()
    assert both == pytest.approx(load_digits().data.sum() * 255 / 16, rel=1e-3)
    assert pixels(split.train).max() == 255
    assert load("digits").train.fingerprint == split.train.fingerprint


def cifar_records(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 10, (count, 3073), dtype=np.uint8)


def test_cifar_binary_is_read_in_order_without_unpacking(place: Path) -> None:
    batches = {f"data_batch_{i}": cifar_records(2, i) for i in range(5, 0, -1)} | {"test_batch": cifar_records(3, 9)}
    place.mkdir()
    with tarfile.open(place / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in (batches | {"../../evil": cifar_records(1, 1)}).items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = content.size
            archive.addfile(member, io.BytesIO(content.tobytes()))
    split = load("cifar10")
    assert split.test is not None
    assert split.train.labels is not None
    assert split.train.labels.tolist() == [label for i in range(1, 6) for label in cifar_records(2, i)[:, 0].tolist()]
    y, x, channel = 5, 7, 2
    assert pixels(split.train)[3, y, x, channel] == batches["data_batch_2"][1, 1 + channel * 1024 + y * 32 + x]
    assert pixels(split.test).shape == (3, 32, 32, 3)
    assert split.train.classes[0] == "airplane"
    assert [path.name for path in place.parent.rglob("*evil*")] == []


def test_cifar_binary_of_another_kind_is_named(place: Path) -> None:
    place.mkdir()
    with tarfile.open(place / "cifar-10-binary.tar.gz", "w:gz"):
        pass
    with pytest.raises(InputError, match=r"lacks cifar-10-batches-bin/data_batch_1\.bin"):
        load("cifar10")


def test_the_jpeg_copy_of_cifar_is_decoded_once_and_says_what_it_is(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.mkdir()
    fields: dict[str, NDArray[np.generic]] = {}
    for part, values in (("train", (10, 120, 250)), ("test", (60, 200))):
        files = []
        for value in values:
            Image.new("RGB", (32, 32), (value, 255 - value, 9)).save(file := io.BytesIO(), "JPEG")
            files.append(file.getvalue())
        fields[f"{part}_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
        fields[f"{part}_offset"] = np.cumsum([0, *map(len, files)])
        fields[f"{part}_label"] = np.arange(len(files), dtype=np.uint8)
    np.savez(place / "cifar10_jpeg.npz", **fields)  # type: ignore[arg-type]
    for _ in range(2):
        split = load("cifar10")
        assert split.test is not None
        assert np.abs(pixels(split.train)[:, 0, 0, 0].astype(int) - (10, 120, 250)).max() <= 3
        assert np.abs(pixels(split.test)[:, 0, 0, 0].astype(int) - (60, 200)).max() <= 3
        assert split.test.labels is not None
        assert split.test.labels.tolist() == [0, 1]
        assert "not lossless" in split.train.notes[0]
        monkeypatch.setattr("twinlens.data.cifar.decode", None)  # from now on only the cache can give them


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_without_a_network_the_places_and_the_way_out_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        load(name)
    for part in (name, str(tmp_path / "data"), str(tmp_path / "system"), "Name or service not known", ".gz"):
        assert part in str(caught.value)
    assert ("dataset-fashion-mnist" in str(caught.value)) == (name == "fashion-mnist")


def test_downloaded_files_are_checked_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_idx(tmp_path / "host", zipped=True)
    files = {f"{name}.gz": md5((tmp_path / "host" / f"{name}.gz").read_bytes()).hexdigest() for name in idx.FILES}
    host = (tmp_path / "host").as_uri()
    monkeypatch.undo()
    monkeypatch.setenv("TWINLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(known, "_SYSTEM", ())
    monkeypatch.setitem(known.KNOWN, "mnist", known.KNOWN["mnist"]._replace(host=host, files=files))
    monkeypatch.delenv("TWINLENS_DATA", raising=False)
    assert (pixels(load("mnist").train)[..., 0] == FASHION).all()
    for path in (tmp_path / "host").iterdir():
        path.unlink()
    assert (pixels(load("mnist").train)[..., 0] == FASHION).all()  # from the cache


def test_a_file_with_another_checksum_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    (tmp_path / "a.gz").write_bytes(b"altered")
    with pytest.raises(InputError, match=r"a\.gz gave a file with MD5 [0-9a-f]{32}, expected 0"):
        download((tmp_path / "a.gz").as_uri(), "0", tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []


def test_official_sources_are_complete() -> None:
    for entry in known.KNOWN.values():
        assert len(entry.classes) == len(set(entry.classes)) == 10
        assert all(len(checksum) == 32 and int(checksum, 16) for checksum in entry.files.values())
        assert len(set(entry.files.values())) == len(entry.files)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("mnits", r"'mnits': did you mean mnist"),
        ("/no/such/folder", r"'/no/such/folder': choose from cifar10, digits, factors, fashion-mnist, mnist"),
        (3, r"data is a int: expected a path"),
    ],
)
def test_what_is_not_data_is_named(what: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load(what)  # type: ignore[arg-type]


def test_a_file_of_another_kind_and_a_view_too_small_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("1,2")
    with pytest.raises(InputError, match=r"a\.xyz is not data that is understood"):
        load(tmp_path / "a.xyz")
    with pytest.raises(InputError, match="size is 7: expected a view of at least 8 pixels"):
        load("digits", size=7)


DATA = os.environ.get("TWINLENS_DATA", "")


@pytest.mark.skipif(not Path(DATA, "mnist.npz").is_file(), reason="needs mnist.npz in $TWINLENS_DATA")
def test_mnist_is_the_official_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLENS_DATA", DATA)
    split = load("mnist")
    assert split.test is not None
    assert split.train.labels is not None
    assert (len(split.train), len(split.test)) == (60_000, 10_000)
    assert md5(idx_bytes(pixels(split.train)[..., 0])).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"  # published
    assert split.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
