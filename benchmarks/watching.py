"""What watching costs: the time of the monitor's looks as a share of the time of training, in the main job.

The run is SimCLR's recipe for Fashion-MNIST: looks at 1,000 held-out pictures, at views of 256 of them, at what the
method compares, and at the neighbours of the 1,000 among 1,000 others. A run is looked at seven times at least, which a
short one pays for: six epochs, a minute of training on two cores, paid 5 to 8 %; the claim is of 24.
"""

import tempfile
from pathlib import Path

import _record

from twinlens.fit import pretrain
from twinlens.recipes import find

CLAIM = "the monitor's looks take at most 2 % of the time of training in 24 epochs of SimCLR on Fashion-MNIST"


def main() -> None:
    """One run; a smallest form takes seconds and says little, as every run is looked at ten times."""
    options = _record.arguments(__doc__)
    data, settings = ("digits", {"epochs": 1}) if options.smallest else ("fashion-mnist", {"epochs": 24})
    with tempfile.TemporaryDirectory() as folder:
        run = pretrain(data, "simclr", recipe=find("fashion_mnist", "simclr"), out=Path(folder) / "run", **settings)
        rows = run.metrics
    looks = [row["look_seconds"] for row in rows if "look_seconds" in row]
    seconds = rows[-1]["seconds"]
    found = {"looks": len(looks), "seconds of looks": round(sum(looks), 2), "seconds of training": round(seconds, 1)}
    found |= {"share": round(sum(looks) / seconds, 4), "views": rows[-1]["views"]}
    print(found)
    _record.write("watching", CLAIM, [found], [run.training.seed], out=options.out)


if __name__ == "__main__":
    main()
