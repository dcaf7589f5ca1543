"""Warnings are errors (pyproject.toml). One thread, as two would wait for each other on a busy machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pairs import captioned, image_text_run, rows, text_run, write

import twinlens as tl

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of their own for the tests of a module, whose runs they share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWINLENS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the tests of a module."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def texts(folder: Path) -> tl.Run:
    """A run over pairs of texts."""
    return text_run(folder / "texts", write(folder / "p.jsonl", rows(), "anchor", "positive"))


@pytest.fixture(scope="module")
def pictures(folder: Path) -> tl.Run:
    """A run over pictures with captions."""
    return image_text_run(folder / "pictures", captioned(folder / "photos"))
