"""Peak memory of a whole run over a folder of 50,000 pictures, decoding included."""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import _record
import numpy as np
from PIL import Image

CLAIM = "pretraining on a folder of 50,000 JPEGs, decoding included, stays under 2 GiB of resident memory"
WATCHED = """
import resource, sys
from twinlens.cli.main import run
status = run(sys.argv[1:])
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(status)
"""


def draw(path: Path, number: int, side: int = 160) -> None:
    """A JPEG of smooth colours, different for each number, about as large as a small photo."""
    noise = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((side * 4 // 3, side), Image.Resampling.BICUBIC).save(
        path / f"{number:06d}.jpg", quality=85
    )


def main() -> None:
    options = _record.arguments(__doc__)
    count, batch = (500, 64) if options.smallest else (50_000, 256)
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda number: draw(pictures, number), range(count)))
        train = [
            "pretrain",
            str(pictures),
            "--epochs",
            "1",
            "--batch",
            str(batch),
            "--hidden",
            "256",
            "--out",
            f"{folder}/run",
        ]
        environment = os.environ | {"TWINLENS_CACHE": f"{folder}/cache"}
        done = subprocess.run([sys.executable, "-c", WATCHED, *train], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peak = int(done.stdout.split("PEAK")[1]) / 2**20  # Linux counts in KiB
        stored = sum(file.stat().st_size for file in Path(folder, "cache").rglob("*") if file.is_file()) / 2**30
    rows = [{"pictures": count, "cache_gib": round(stored, 2), "peak_gib": round(peak, 2), "under_2_gib": peak < 2}]
    print(rows[0])
    _record.write("memory", CLAIM, rows, [0], out=options.out)
    sys.exit(peak >= 2)


if __name__ == "__main__":
    main()
