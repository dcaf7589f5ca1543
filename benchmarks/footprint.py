"""What it costs to have the library: seconds to import it, and megabytes of packages beyond torch's own.

Twinlens alone, with the extra text (tokenizers) and with hub (transformers too), beside sentence-transformers. Each
import has a fresh interpreter; that of twinlens waits for nothing until a name is used, so the first use is a row too.
Seconds are those of the statement by the clock, processor seconds those of the whole process, medians; where others use
the machine, the latter alone say something. Megabytes (10^6 bytes) are those of the files of all packages that an
installation brings, as their metadata lists them, less those that torch brings. What is not installed is said to be
absent.
"""

import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, requires, version
from typing import Any

from _record import arguments, commit, write
from packaging.requirements import Requirement

CLAIM = (
    "import twinlens takes a tenth of a second of processor time at most, with pretrain less than "
    "sentence_transformers; the extra text adds less than 50 MB; all packages weigh more than sentence-transformers'"
)
FORMS = {  # the statement, and the requirements that bring what it needs
    "twinlens": ("import twinlens", ["twinlens"]),
    "twinlens, first use": ("from twinlens import pretrain", ["twinlens"]),
    "twinlens[text]": ("import twinlens", ["twinlens", "tokenizers"]),
    "twinlens[hub]": ("import twinlens", ["twinlens", "tokenizers", "transformers"]),
    "sentence-transformers": ("import sentence_transformers", ["sentence-transformers"]),
}
TIMES = 5


def seconds(statement: str, times: int) -> tuple[float, float]:
    """Wall-clock and processor seconds of a fresh interpreter that runs the statement: medians."""
    wall, processor = [], []
    code = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall.append(float(done.stdout.split()[-1]))
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(wall), statistics.median(processor)


def brought(names: Iterable[str]) -> dict[str, Distribution]:
    """The installed packages that these names need, directly or through others, themselves among them."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        wanted = Requirement(waiting.pop())
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if name in found:
            continue
        found[name] = distribution(name)
        waiting += needed(name, wanted.extras)
    return found


def needed(name: str, extras: Iterable[str]) -> Iterator[str]:
    """The requirements of a package that hold here."""
    for line in requires(name) or ():
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield line.split(";")[0]


def megabytes(packages: dict[str, Distribution]) -> float:
    """The size of their files, without what was compiled after installation."""
    paths = {file.locate() for one in packages.values() for file in one.files or () if file.suffix != ".pyc"}
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def measure(times: int) -> list[dict[str, Any]]:
    """A row for each form."""
    rows, torch = [], brought(["torch"])
    seconds("import torch", 1)  # files come from the disk once
    alone = seconds("import torch", times)
    for form, (statement, names) in FORMS.items():
        row: dict[str, Any] = {"form": form, "commit": commit()}
        try:
            mine = {name: one for name, one in brought(names).items() if name not in torch}
        except PackageNotFoundError as error:
            rows.append(row | {"absent": f"{error.name} is not installed"})
            continue
        seconds(statement, 1)
        wall, processor = seconds(statement, times)
        row |= {"version": version(names[0]), "seconds": round(wall, 2), "processor_seconds": round(processor, 2)}
        row |= {"torch_seconds": round(alone[0], 2), "torch_processor_seconds": round(alone[1], 2)}
        row |= {"packages_beyond_torch": len(mine), "megabytes_beyond_torch": round(megabytes(mine), 1)}
        sizes = {name: round(megabytes({name: one}), 1) for name, one in mine.items()}
        row["largest"] = dict(sorted(sizes.items(), key=lambda item: -item[1])[:5])
        rows.append(row)
    return rows


def main() -> None:
    """Measures, prints and writes the rows."""
    given = arguments(__doc__)
    rows = measure(1 if given.smallest else TIMES)
    print(*rows, sep="\n")
    print(write("footprint", CLAIM, rows, [], given.out))


if __name__ == "__main__":
    main()
