import time
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twinlens import random
from twinlens.distinct import distinct
from twinlens.errors import InputError


def reference(names, batch):
    """Places of `names` by trying, in each batch, every one that waits and then every one that has not come yet.

    `waits` has ids in turn: one that had its turn while more of it wait goes to the end.
    """
    coming, waits, done = list(range(len(names))), [], []
    while coming or len({names[i] for i in waits}) >= batch:
        block, again = [], []
        for name in list(dict.fromkeys(names[i] for i in waits))[:batch]:
            mine = [i for i in waits if names[i] == name]
            block.append(mine[0])
            waits = [i for i in waits if names[i] != name]
            again += mine[1:]
        waits += again
        while coming and len(block) < batch:
            i = coming.pop(0)
            (waits if names[i] in [names[j] for j in block] else block).append(i)
        done += block
    return done


@st.composite
def epochs(draw):
    names = draw(st.lists(st.integers(-3, 12), min_size=1, max_size=60))
    order = draw(st.permutations(range(len(names))))
    return names, list(order), draw(st.integers(1, len(set(names))))


@settings(deadline=None, max_examples=300)
@given(epochs())
def test_no_batch_holds_an_id_twice_and_nothing_is_lost_but_what_fits_nowhere(epoch):
    names, order, batch = epoch
    done = distinct(torch.tensor(order), torch.tensor(names), batch).tolist()
    assert [order[i] for i in reference([names[i] for i in order], batch)] == done
    for start in range(0, len(done), batch):
        block = [names[i] for i in done[start : start + batch]]
        assert len(set(block)) == len(block)
    assert len(set(done)) == len(done) and set(done) <= set(order)
    left = Counter(names[i] for i in set(order) - set(done))
    assert len(left) < batch  # or they would be a batch
    last = {names[i] for i in done[len(done) - len(done) % batch :]}
    assert len(done) % batch == 0 or left.keys() <= last  # what is left has no place in the last batch either


def test_by_hand():
    ids = torch.tensor([0, 0, 1, 2, 1, 3])
    assert distinct(torch.arange(6), ids, 3).tolist() == [0, 2, 3, 1, 4, 5]  # the second 0 waits for the second batch
    # four of one kind in two batches of two: one in each; the first waits behind nobody, the last two fit nowhere
    assert distinct(torch.arange(6), torch.tensor([5, 5, 5, 5, 8, 9]), 2).tolist() == [0, 4, 1, 5]
    assert distinct(torch.tensor([3, 0]), ids, 2).tolist() == [3, 0]  # ids are by sample, whatever part an epoch has


def test_an_order_without_repeats_comes_back():
    order = random.permutation(1000, 0, 3)
    assert torch.equal(distinct(order, torch.arange(1000), 64), order)
    within = torch.arange(1000) % 500
    assert torch.equal(distinct(torch.arange(1000), within, 64), torch.arange(1000))  # twice, but far apart


def test_what_ids_are_called_does_not_matter():
    ids, order = torch.randint(40, (300,), generator=torch.Generator().manual_seed(0)), random.permutation(300, 0, 0)
    assert torch.equal(distinct(order, ids, 16), distinct(order, 10**12 - 7 * ids, 16))


@pytest.mark.parametrize("kinds", [1_000_000, 200_000])
def test_five_captions_of_each_picture_take_seconds_and_lose_none(kinds):
    order, ids = random.permutation(1_000_000, 0, 0), torch.arange(1_000_000) % kinds
    began = time.process_time()
    done = distinct(order, ids, 1024)
    assert time.process_time() - began < 10  # about 1 where it was written
    assert len(order) - len(done) <= 5
    whole = ids[done[: len(done) // 1024 * 1024]].view(-1, 1024).sort(1).values
    assert (whole.diff(dim=1) > 0).all()


def test_ids_of_which_most_are_one_are_still_linear():
    ids = torch.arange(400_000).clamp_max(200_000)  # half of them one
    began = time.process_time()
    done = distinct(random.permutation(400_000, 0, 0), ids, 64)
    assert time.process_time() - began < 10
    assert 200_000 <= len(done) <= 200_000 * 64 / 63 + 64


@pytest.mark.parametrize(
    ("batch", "words"), [(0, "^batch = 0: expected at least 1"), (5, "^batch = 5: expected at most 4")]
)
def test_a_batch_that_cannot_be_is_named(batch, words):
    with pytest.raises(InputError, match=words):
        distinct(torch.arange(6), torch.tensor([0, 0, 1, 2, 1, 3]), batch)
