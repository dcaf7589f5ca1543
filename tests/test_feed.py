"""What a step sees depends on (seed, step) alone."""

import pytest
import torch
from support import Noise, Shaken, build, feed

from twinlens.batch import Views
from twinlens.embed import embed, to_parquet
from twinlens.feed import Chunk, Feed
from twinlens.methods.simclr import SimCLR
from twinlens.methods.supcon import SupCon


def test_an_epoch_holds_every_sample_once_but_for_the_incomplete_batch() -> None:
    data = feed(SimCLR, samples=30, batch=12)
    assert data.steps == 2
    epochs = [torch.cat([data.index(step) for step in (first, first + 1)]).tolist() for first in (0, 2)]
    assert all(len(set(epoch)) == 24 for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_micro_batches_hold_what_the_whole_batch_holds() -> None:
    (whole,), (parts,) = feed(SimCLR).run(3, 4), feed(SimCLR, micro_batches=5).run(3, 4)
    (one,), many = [chunk() for chunk in whole], [chunk() for chunk in parts]
    assert torch.equal(one.index, torch.cat([batch.index for batch in many]))
    assert torch.equal(one.key, torch.cat([batch.key for batch in many]))
    for number, view in enumerate(one.views):
        assert torch.equal(view, torch.cat([batch.views[number] for batch in many]))


def test_labels_come_with_their_samples_to_a_method_that_asks_for_them() -> None:
    data = feed(SupCon, micro_batches=5)
    data._labels = torch.arange(24) ** 2  # a label for each sample, so that none can stand for another
    for step, chunks in enumerate(data.run(0, 4)):
        targets = [chunk().target for chunk in chunks]
        assert torch.equal(torch.cat(targets), data.index(step) ** 2)  # type: ignore[arg-type]
        assert torch.equal(chunks[0]().target, targets[0])  # type: ignore[arg-type]


def test_labels_do_not_reach_a_method_that_does_not_ask() -> None:
    for method, wanted in ((SupCon, True), (SimCLR, False)):
        (chunks,) = feed(method, micro_batches=3).run(0, 1)
        assert all((chunk().target is not None) == wanted for chunk in chunks)


def test_starting_in_the_middle_gives_the_same_batches() -> None:
    straight = [chunks[0]().views[0] for chunks in feed(SimCLR).run(0, 5)]
    late = [chunks[0]().views[0] for chunks in feed(SimCLR).run(3, 5)]
    assert all(torch.equal(a, b) for a, b in zip(straight[3:], late, strict=True))


def test_a_chunk_can_be_made_again_and_its_views_differ() -> None:
    (chunks,) = feed(SimCLR).run(0, 1)
    first, again = chunks[0](), chunks[0]()
    assert torch.equal(first.views[0], again.views[0])
    assert not torch.equal(first.views[0], first.views[1])


def test_views_of_a_sample_differ_between_epochs_and_from_the_methods_own_draws() -> None:
    data = feed(SimCLR, samples=12, batch=12)
    batches = [chunks[0]() for chunks in data.run(0, 2)]
    keys = [dict(zip(batch.index.tolist(), batch.key.tolist(), strict=True)) for batch in batches]
    assert all(keys[0][sample] != keys[1][sample] for sample in keys[0])


def test_embeddings_are_in_order_in_evaluation_mode_and_leave_the_mode_alone() -> None:
    encoder = build(SimCLR).encoder
    samples, device = Noise(10), torch.device("cpu")
    encoder.train()
    all_at_once = embed(encoder, samples, Shaken(), device=device)
    assert encoder.training and all_at_once.shape == (10, 16)
    some = embed(encoder, samples, Shaken(), device=device, index=torch.tensor([7, 2]))
    torch.testing.assert_close(some, all_at_once[[7, 2]])


def test_parquet_holds_the_embeddings_in_row_groups(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import pyarrow.parquet as pq

    encoder, device = build(SimCLR).encoder, torch.device("cpu")
    train, test = Noise(10), Noise(3, seed=1)
    train.names = [f"{i}.png" for i in range(10)]
    path = tmp_path / "new" / "e.parquet"
    parts = {"train": train}
    assert to_parquet(path, encoder, parts, Shaken(), device=device, rows=4) == (10, 16)
    table = pq.read_table(path)
    assert table.column_names == ["part", "index", "name", "label", "embedding"]
    assert (table["name"].to_pylist()[9], table["label"].to_pylist()[9]) == ("9.png", 1)
    expected = embed(encoder, train, Shaken(), device=device)
    torch.testing.assert_close(torch.tensor(table["embedding"].to_pylist()), expected)
    assert [file.name for file in path.parent.iterdir()] == ["e.parquet"]
    assert to_parquet(path, encoder, {"test": test}, Shaken(), device=device)[0] == 3


class Sentences(Noise):
    """Samples of different lengths, some of which are the same."""

    def __init__(self, count: int, kinds: int) -> None:
        super().__init__(count)
        self.lengths = torch.arange(count) * 7 % 11 + 1
        self.kinds = torch.arange(count) % kinds

    @property
    def identity(self) -> torch.Tensor:
        return self.kinds


def parted(tokens: int, *, kinds: int = 40, batch: int = 20, strength: str = "strong") -> list[list[Chunk]]:
    views = Views(large=2, strength=strength)  # type: ignore[arg-type]
    data = Feed(
        Sentences(40, kinds), Shaken(), views, batch=batch, micro_batches=1, seed=0, device=torch.device("cpu"),
        tokens=tokens,
    )  # fmt: skip
    return list(data.run(0, 4))


def test_parts_hold_no_more_words_than_asked_and_every_sample_once() -> None:
    whole = parted(0)
    for one, parts in zip(whole, parted(50)):
        assert len(parts) > 1 and all(part.split for part in parts) and not one[0].split
        rows = torch.cat([part.rows for part in parts])
        assert rows.sort().values.tolist() == list(range(20))
        index = torch.cat([part().index for part in parts])
        assert torch.equal(index[rows.argsort()], one[0]().index)
        for part in parts:
            length = part().index * 7 % 11 + 1
            assert len(length) == 1 or int(length.max()) * len(length) <= 50
        views = torch.cat([part().views[0] for part in parts])[rows.argsort()]
        assert torch.equal(views, one[0]().views[0])  # whatever part it is in


def test_views_that_are_filled_up_to_one_length_are_parted_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shaken, "sizes", {"length": 10})
    assert [len(part.rows) for part in parted(50, strength="weak")[0]] == [5, 5, 5, 5]


def test_the_same_sample_is_not_twice_in_a_batch_and_none_is_lost() -> None:
    batches = [parts[0]().index for parts in parted(0, kinds=25)]
    assert len((batches[0] % 25).unique()) == 20
    assert len(torch.cat(batches[:2]).unique()) == 40
    assert any(len((parts[0]().index % 25).unique()) < 20 for parts in parted(0, kinds=10**9))  # by chance they are
    assert len(parted(0, kinds=3)[0][0]().index) == 20  # fewer kinds than a batch has samples: as they come
