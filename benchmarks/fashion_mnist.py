"""Quality on Fashion-MNIST: four methods, three seeds, last checkpoints, beside raw pixels and the untrained encoder.

The runs are the recipes of twinlens.recipes.fashion_mnist. It resumes where it stopped: rows that the result has are
kept (delete the file to make all anew), and a run that was not finished goes on.

    python benchmarks/fashion_mnist.py                                              the table, about an hour
    python benchmarks/fashion_mnist.py --methods vicreg --seeds 1 --set epochs=56   one longer run, half an hour
    python benchmarks/fashion_mnist.py --validation --set rate=2e-3                 to choose settings: no test pictures
"""

from _quality import main

CLAIM = (
    "SimCLR, BYOL, VICReg and MAE stand above the untrained encoder and raw pixels on Fashion-MNIST, intervals apart"
)

if __name__ == "__main__":
    main("fashion_mnist", CLAIM, __doc__, dict.fromkeys(("simclr", "byol", "vicreg", "mae"), 3), {})
