"""Pretext: what is lost where an answer is wrong, and how much each answer counts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support import SIZE, Noise, Shaken, build, feed
from torch import nn

import twinlens as tl
from twinlens import discover, random
from twinlens.batch import Batch, Maker, Views
from twinlens.comparison.plan import Request, candidates
from twinlens.encoders.vit import vit
from twinlens.errors import InputError
from twinlens.feed import create
from twinlens.methods.pretext import Pretext
from twinlens.report.stored import view_sheet
from twinlens.views.colour import pixels
from twinlens.views.image import ImageViews
from twinlens.views.tasks import TASKS, coloured, find


def make(task: str = "rotation", seed: int = 0, **settings: object) -> Pretext:
    torch.manual_seed(seed)
    return Pretext(vit(3, SIZE, patch=2, width=16, depth=1, heads=2), task=task, **({"hidden": 16} | settings))  # type: ignore[arg-type]


def first_batch(method: Pretext, micro_batches: int = 1) -> list[Batch]:
    (chunks,) = feed(method, micro_batches=micro_batches).run(0, 1)
    return [chunk() for chunk in chunks]


@pytest.mark.parametrize("task", TASKS)
def test_the_loss_is_the_weighted_mean_over_samples_and_answers(task: str) -> None:
    method = make(task).double()
    (batch,) = first_batch(method)
    batch = batch._replace(views=tuple(view.double() for view in batch.views))
    p = torch.rand(find(task).answers, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    method.frequency.copy_(p / p.sum())
    p = p / p.sum()
    w = [1 / (0.5 * share + 0.5 / len(p)) for share in p.tolist()]
    mean = sum(share * each for share, each in zip(p.tolist(), w, strict=True))
    assert batch.target is not None
    lost, count = 0.0, 0
    for n in range(len(batch.index)):
        h = torch.cat([method.encoder(view[n : n + 1])[0] for view in batch.views])  # in the order of the views
        logits = method.predict(h).view(find(task).parts, -1)
        for given, answer in zip(logits, batch.target[n].flatten().tolist(), strict=True):
            lost += w[answer] / mean * float((given.logsumexp(0) - given[answer]).detach())
            count += 1
    loss = method.compare(*method.encode(batch)).detach()
    assert count == len(batch.index) * find(task).parts and float(loss) == pytest.approx(lost / count, rel=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_a_sample_is_encoded_by_itself(task: str) -> None:
    method = make(task)
    (whole,), parts = first_batch(method), first_batch(method, 5)
    for one, many in zip(method.encode(whole), zip(*map(method.encode, parts), strict=True), strict=True):
        torch.testing.assert_close(one, torch.cat(many))


def test_weights_by_hand() -> None:
    method = make()
    method.frequency.copy_(torch.tensor([0.7, 0.1, 0.1, 0.1]))
    expected = torch.tensor([1 / 0.475, *[1 / 0.175] * 3]) / (0.7 / 0.475 + 0.3 / 0.175)
    torch.testing.assert_close(method.weights(), expected)
    assert float((method.frequency * method.weights()).sum()) == pytest.approx(1)
    even = make(uniform=1.0)
    even.frequency.copy_(method.frequency)
    assert torch.equal(even.weights(), torch.ones(4))
    torch.testing.assert_close(make("jigsaw").weights(), torch.ones(100))


def test_the_frequency_of_answers_follows_the_batches() -> None:
    method = make()
    z = torch.tensor([[0], [0], [0], [2]])
    method.update(0.1, torch.zeros(4, 1), z)
    expected = 0.99 * 0.25 + 0.01 * torch.tensor([0.75, 0, 0.25, 0])
    torch.testing.assert_close(method.frequency, expected)
    for _ in range(2000):
        method.update(0.1, torch.zeros(4, 1), z)
    torch.testing.assert_close(method.frequency, torch.tensor([0.75, 0, 0.25, 0]), atol=1e-5, rtol=0)
    assert method.weights().isfinite().all()
    colours = make("colorization")
    colours.update(0.1, torch.zeros(2, 16), torch.arange(32).view(2, 16))
    torch.testing.assert_close(colours.frequency[[0, 31, 32]] * 260, torch.tensor([0.99 + 2.6 / 32] * 2 + [0.99]))
    assert "frequency" in method.state_dict()


@pytest.mark.parametrize("task", [task for task in TASKS if task != "colorization"])
def test_where_answers_are_as_frequent_all_count_about_the_same(task: str) -> None:
    method = make(task)
    views = tuple(torch.zeros(256, 1, 3, 3) for _ in range(method.views.large))
    for step in range(150):
        _, answer = find(task).ask(views, random.keys(0, step, torch.arange(256)))
        method.update(0.1, torch.zeros(256, 1), answer[:, None])
    assert (method.weights() - 1).abs().max() < 0.1


def test_order_of_the_views_matters() -> None:
    method = make("relative_position")
    (batch,) = first_batch(method)
    turned = method.logits(batch._replace(views=batch.views[::-1]))
    assert not torch.allclose(method.logits(batch), turned)
    assert method.logits(batch).shape == (12, 1, 8)


class Corner(nn.Module):
    """Where the brightest quarter of a picture lies, so that a linear head can tell how it was turned."""

    dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        return self.scale * nn.functional.adaptive_avg_pool2d(view.mean(1, keepdim=True), 2).flatten(1)


def test_what_can_be_told_is_learnt() -> None:
    torch.manual_seed(0)
    method = Pretext(Corner(), hidden=0)
    assert [type(layer) for layer in method.predict] == [nn.Linear]
    corner = torch.full((64, 3, 8, 8), -1.0)
    corner[:, :, :4, :4] = 2
    key = random.keys(0, 0, torch.arange(64))
    seen, target = find("rotation").ask((corner,), key)
    batch = Batch(seen, torch.arange(64), key, target)
    before = method.tell(batch)["right"]
    optimizer = torch.optim.Adam(method.parameters(), 0.1)
    for _ in range(40):
        optimizer.zero_grad()
        parts = method.encode(batch)
        method.compare(*parts).backward()
        optimizer.step()
        method.update(0.5, *(part.detach() for part in parts))
    assert before < 1 and method.tell(batch)["right"] == 1


def test_colours_are_shown_as_they_are_predicted_and_as_they_were() -> None:
    method = make("colorization")
    (batch,) = first_batch(method)
    shown = method.show(batch)
    assert list(shown) == ["seen", "coloured", "true"] and torch.equal(shown["seen"], batch.views[0])
    assert all(view.shape == (12, 3, SIZE, SIZE) and view.isfinite().all() for view in shown.values())
    assert batch.target is not None
    right = torch.nn.functional.one_hot(batch.target, 260) * 1e3
    method.logits = lambda _: right  # type: ignore[method-assign]
    told = method.show(batch)
    torch.testing.assert_close(told["coloured"], told["true"])
    assert method.tell(batch)["right"] == 1
    two = torch.zeros(12, 16, 260)  # 0 but for two answers, of which the second is e^(1 / 0.38) times as likely
    two[:, :, 2:] = -1e3
    two[:, :, 1] = 1
    method.logits = lambda _: two  # type: ignore[method-assign]
    share = 1 / (1 + np.exp(-1 / 0.38))
    chances = torch.zeros(12, 16, 260)
    chances[:, :, 0], chances[:, :, 1] = 1 - share, share
    torch.testing.assert_close(method.show(batch)["coloured"], coloured(batch.views[0], chances))
    assert make("jigsaw").show(batch) == {}


def test_wrong_input_is_named() -> None:
    with pytest.raises(InputError, match="unknown task 'rotations': did you mean rotation"):
        make("rotations")
    for uniform in (0.0, 1.5):
        with pytest.raises(InputError, match=f"uniform is {uniform}: expected a share above 0, up to 1"):
            make(uniform=uniform)
    with pytest.raises(InputError, match="the pictures are grey, 1 channel"):
        Pretext(vit(1, SIZE, width=16, depth=1, heads=2), task="colorization", hidden=16)


@pytest.mark.parametrize("task", TASKS)
def test_the_sheet_shows_what_is_asked_about(task: str) -> None:
    samples, maker = Noise(10), Shaken()
    titles, sheet = view_sheet(samples, maker, find(task).views, 0)
    assert titles == ["sample", *(f"view {number}" for number in range(1, find(task).shown + 1))]
    assert sheet.shape == (8, 1 + find(task).shown, SIZE, SIZE, 3)
    raw, index = samples.fetch(torch.tensor([0])), torch.tensor([0])
    batch = create(maker, find(task).views, raw, index, random.keys(0, 0, index))
    for column, view in enumerate((maker.clean(raw), *batch.views)):
        assert np.array_equal(sheet[0, column], pixels(view)[0])


def test_the_sheet_shows_small_views_as_large_as_the_others() -> None:
    class Square(Noise):
        def fetch(self, index: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return self.pixels[index], torch.ones(len(index))

    maker: Maker = ImageViews(size=SIZE, small_size=4)
    titles, sheet = view_sheet(Square(3), maker, Views(1, 2), 0)
    assert len(titles) == 4 and sheet.shape == (3, 4, SIZE, SIZE, 3)


def test_a_run_counts_the_views_that_are_shown(tmp_path: Path) -> None:
    given = {"epochs": 0.5, "batch": 64, "hidden": 16, "width": 8, "task": "relative_position"}
    run = tl.pretrain("digits", "pretext", out=tmp_path / "run", **given)
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["views"] == rows[-1]["step"] * 64 * 2 and 0 <= rows[-1]["right"] <= 1
    facts = json.loads((run.folder / "run.json").read_text())
    assert facts["method"] == {"name": "pretext", "task": "relative_position", "hidden": 16, "uniform": 0.5}
    with np.load(run.folder / "report.npz") as kept:
        assert kept["views"].shape[1] == 3 and "shown" not in kept
    others = {"batch": 64, "hidden": 16, "width": 8, "task": "temporal_order"}
    (candidate,) = candidates(Request(("pretext",), settings=others), "digits", "digits")
    assert candidate.views == 3
    with pytest.raises(InputError, match="the pictures are grey"):
        tl.pretrain("digits", "pretext", out=tmp_path / "other", **given | {"task": "colorization"})
    assert not (tmp_path / "other").exists()


def test_every_task_can_be_chosen_by_name() -> None:
    assert Pretext.views == find("rotation").views
    for task in TASKS:
        assert build(discover.method("pretext"), task=task).views == find(task).views
