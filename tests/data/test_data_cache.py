"""The cache is whole or absent, whoever is killed or writes at the same time, and says what to do when it is full."""

import errno
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from twinlens.data import cache
from twinlens.data.cache import Plan, Row
from twinlens.errors import InputError

SHAPE = (4, 4, 1)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TWINLENS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def rows(count: int = 3) -> Iterator[Row]:
    for i in range(count):
        yield Row(str(i), None if i == 1 else (np.full(SHAPE, i % 256, np.uint8), i / 2))


def plan() -> Plan:
    return Plan(SHAPE, 3, rows())


def never() -> Plan:
    raise AssertionError("the entry is there already")


def test_an_entry_is_made_once_and_read_back(place: Path) -> None:
    for make in (plan, never):
        entry = cache.once("a", make)
        assert entry.pixels.read(torch.arange(2))[:, 0, 0, 0].tolist() == [0, 2]
        assert entry.aspect.tolist() == [0.0, 1.0]
        assert entry.unreadable == ("1",)
    assert sorted(path.name for path in place.iterdir()) == ["a.json", "a.lock", "a.u8"]


@pytest.mark.parametrize("damage", ["cut", "longer", "no pixels", "no json", "half a json", "another json"])
def test_a_damaged_entry_is_made_again(place: Path, damage: str) -> None:
    cache.once("a", plan)
    pixels, about = place / "a.u8", place / "a.json"
    match damage:
        case "cut":
            pixels.write_bytes(pixels.read_bytes()[:-1])
        case "longer":
            pixels.write_bytes(pixels.read_bytes() + b"x")
        case "no pixels":
            pixels.unlink()
        case "no json":
            about.unlink()
        case "half a json":
            about.write_text(about.read_text()[:9])
        case _:
            about.write_text("{}")
    plans = [plan()]
    assert cache.once("a", plans.pop).pixels.read(torch.arange(2))[:, 0, 0, 0].tolist() == [0, 2]
    assert not plans
    assert cache.once("a", never).aspect.tolist() == [0.0, 1.0]


def test_a_maker_that_fails_leaves_nothing_and_what_a_killed_one_left_goes(place: Path) -> None:
    def failing() -> Iterator[Row]:
        yield from rows(2)
        raise InputError("too many unreadable")

    place.mkdir()
    (place / "a.1-2.part").write_bytes(b"left by a process that was killed")
    (place / "b.1-2.part").write_bytes(b"another entry's")
    with pytest.raises(InputError, match="too many unreadable"):
        cache.once("a", lambda: Plan(SHAPE, 3, failing()))
    assert sorted(path.name for path in place.iterdir()) == ["a.lock", "b.1-2.part"]


def test_a_full_disk_is_one_sentence_before_and_while_writing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = Plan((10**6, 10**6, 3), 10**6, iter(()))
    with pytest.raises(InputError, match=r"MB cannot be written to .*cache \(No space left on device\): make room"):
        cache.once("a", lambda: huge)

    def full(file: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache, "_flush", full)
    with pytest.raises(InputError, match="set TWINLENS_CACHE to a folder that has it"):
        cache.once("a", plan)
    assert [path.name for path in place.iterdir()] == ["a.lock"]


def test_a_place_that_cannot_be_a_folder_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TWINLENS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="set TWINLENS_CACHE"):
        cache.once("a", plan)


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWINLENS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.folder() == Path("/somewhere/twinlens")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == Path.home() / ".cache" / "twinlens"


def _work(place: str, number: int) -> None:
    os.environ["TWINLENS_CACHE"] = place

    def slow() -> Plan:
        with Path(place, "made").open("a") as file:
            file.write(f"{number}\n")
        time.sleep(0.3)  # the others begin meanwhile
        return Plan(SHAPE, 2000, rows(2000))

    entry = cache.once("a", slow)
    assert (entry.pixels.read(torch.arange(1999))[2:, 1, 1, 0] == torch.arange(3, 2000).byte()).all()


def test_of_several_processes_one_makes_the_entry_and_all_read_it(place: Path) -> None:
    place.mkdir()
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(str(place), number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len((place / "made").read_text().splitlines()) == 1


def test_notes_are_remembered(place: Path) -> None:
    assert cache.remembered("k") is None
    cache.remember("k", "one")
    cache.remember("k", "two")
    assert cache.remembered("k") == "two"
    assert [path.name for path in place.iterdir()] == ["k.key"]
