"""Writes the generated parts of README.md: the methods, from the code, and the figures, from benchmarks/results.

python docs/tables.py           rewrite them
python docs/tables.py --check   exit with status 1 if they are not what would be written
"""

import inspect
import json
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twinlens import discover
from twinlens.generation import BEFORE, MEAN, REAL

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
COLUMNS = {
    "knn": "kNN",
    "1 per class": "1 label a class",
    "10 per class": "10 labels a class",
    "100 per class": "100 labels a class",
    "linear probe": "linear",
    "fine-tuned": "fine-tuned",
}


def methods() -> str:
    """A row for each method: name, what it does, where it is from."""
    rows = ["| method | what it does | source |", "|---|---|---|"]
    for name, cls in discover.methods().items():
        module, text = inspect.getmodule(cls), inspect.getdoc(cls) or ""
        title, about = (inspect.getdoc(module) or "").split("\n")[0].split(": ", 1)
        source = re.findall(r"arXiv \d{4}\.\d{4,5}|doi:10\.[^\s,;)]+|JMLR \d+", text)[0].rstrip(".")
        authors = text.split("\n")[0].split(', "')[0]
        rows.append(f"| `{name}` ({title}) | {about} | {authors}, {source} |")
    return "\n".join(rows)


QUALITY = {
    "joint_embedding": "Joint-embedding methods, and three of them for longer",
    "predictive": "Methods that predict, reconstruct or generate, and pretext tasks",
}


def figures() -> str:
    """The tables of quality, and a line for each other benchmark's claim."""
    return "\n\n".join(part for part in (*map(quality, QUALITY), claims()) if part)


def quality(name: str) -> str:
    """Test accuracy of every method, the mean over seeds, beside raw pixels and the untrained encoder."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return ""
    found = json.loads(path.read_text())
    columns = {name: title for name, title in COLUMNS.items() if name in found["rows"][0]}
    about = (
        f"{QUALITY[name]}: test accuracy in %, last checkpoint; {found['machine']['cpu']}, {found['date']} "
        f"(`benchmarks/results/{path.name}`). Mean over seeds [lowest and highest end of their 95 % intervals]; bold "
        "where the interval of every seed stands apart from those of raw pixels and of the same encoder untrained. The "
        "last column names the use of labels in which a method leads its better baseline by the most widths of its "
        "interval."
    )
    if "fine-tuned" in columns:
        about += (
            " Fine-tuned: with 100 labels a class; beside it raw pixels are probed with as many, and the untrained "
            "encoder is trained on the same."
        )
    lines = [
        about,
        "| | seeds | views | minutes | " + " | ".join(columns.values()) + " | leads most by |",
        "|---|---|---|---|" + "---|" * (len(columns) + 1),
    ]
    for data in dict.fromkeys(map(learnt_from, found["rows"])):
        lines += part(data, [row for row in found["rows"] if learnt_from(row) == data], columns)
    return lines[0] + "\n\n" + "\n".join(lines[1:]) + generative(found["rows"])


def learnt_from(row: dict[str, Any]) -> str:
    """The data of a row."""
    return str(row.get("data", "fashion-mnist"))


def part(data: str, rows: list[dict[str, Any]], columns: dict[str, str]) -> Iterator[str]:
    """The lines of what learnt from one dataset, its baselines first."""
    yield f"| {data}, raw pixels | | | | {' | '.join(baseline(rows[:1], name, 'raw') for name in columns)} | |"
    for encoder in dict.fromkeys(row["encoder"] for row in rows):
        of_it = [row for row in rows if row["encoder"] == encoder]
        cells = " | ".join(baseline(of_it, name, "untrained") for name in columns)
        yield f"| {data}, {encoder}, untrained | | | | {cells} | |"
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["epochs"]), []).append(row)
    for (method, _), group in groups.items():
        minutes = statistics.mean(row["seconds"] for row in group) / 60
        facts = f"{len(group)} | {group[0]['views'] / 1e6:.1f} M | {minutes:.1f}"
        cells = " | ".join(cell(group, name) for name in columns)
        yield f"| {method} | {facts} | {cells} | {columns[max(columns, key=lambda use: lead(group, use))]} |"


def generative(rows: list[dict[str, Any]]) -> str:
    """The table of methods that decode: how far reconstructions and drawn samples are from real ones."""
    able = [row for row in rows if "reconstruction error" in row]
    if not able:
        return ""
    lines = [
        "\n\nOf those that decode: the squared error of a pixel in [-2, 2], beside the mean picture's, and KID of "
        "drawn samples on features of SimCLR's encoder, beside that of real samples and of what was drawn before "
        "training (seed 0).",
        "",
        "| | reconstruction error | of the mean picture | KID | of real samples | before training |",
        "|---|---|---|---|---|---|",
    ]
    for row in (row for row in able if row["seed"] == 0):
        found, drawn = row["reconstruction error"], row.get("KID")
        kid = "| | | |"
        if drawn:
            three = (drawn, drawn[REAL], drawn[BEFORE])
            kid = f"| {' | '.join(amount(one) for one in three)} |"
        lines.append(f"| {row['method']} | {amount(found)} | {amount(found[MEAN])} {kid}")
    return "\n".join(lines)


def amount(found: dict[str, Any]) -> str:
    """A number and its interval."""
    low, high = found["interval"]
    return f"{found['value']:.3f} [{low:.3f}, {high:.3f}]"


def cell(rows: list[dict[str, Any]], name: str) -> str:
    """Mean and extremes of a figure over seeds."""
    low, high = min(row[name]["interval"][0] for row in rows), max(row[name]["interval"][1] for row in rows)
    mean = f"{100 * statistics.mean(row[name]['value'] for row in rows):.1f}"
    above = all(row[name]["above"] for row in rows)
    return f"{f'**{mean}**' if above else mean} [{100 * low:.1f}, {100 * high:.1f}]"


def lead(rows: list[dict[str, Any]], name: str) -> float:
    """How far a figure is ahead of its best baseline, in widths of its interval: the mean over seeds."""
    found = []
    for figure in (row[name] for row in rows):
        low, high = figure["interval"]
        found.append((figure["value"] - max(figure[kind]["value"] for kind in ("untrained", "raw"))) / (high - low))
    return statistics.mean(found)


def baseline(rows: list[dict[str, Any]], name: str, kind: str) -> str:
    """Mean of a baseline's figure over seeds."""
    return f"{100 * statistics.mean(row[name][kind]['value'] for row in rows):.1f}"


def claims() -> str:
    """The other benchmarks: claim, date, and where the rows are."""
    lines = []
    for path in sorted(RESULTS.glob("*.json")):
        if path.stem not in QUALITY and not path.stem.endswith("_validation"):  # which settings were chosen by
            found = json.loads(path.read_text())
            lines.append(f"- {found['claim'].rstrip('.')}: `benchmarks/results/{path.name}` ({found['date']}).")
    return "\n".join(lines)


def rewritten(text: str) -> str:
    """The text with what stands between its markers made anew."""
    for name, make in {"methods": methods, "figures": figures}.items():
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda found, make=make: f"{found[1]}{make()}\n{found[2]}",
            text,
            flags=re.DOTALL,
        )
    return text


if __name__ == "__main__":
    before = README.read_text()
    after = rewritten(before)
    if "--check" in sys.argv:
        sys.exit("README.md's tables are not current: run scripts/docs" if after != before else 0)
    README.write_text(after)
