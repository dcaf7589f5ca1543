"""Masked modelling on Fashion-MNIST: three seeds, last checkpoints, beside raw pixels and the untrained encoder.

The runs are the recipes of twinlens.recipes.fashion_mnist. It resumes where it stopped: rows that the result has are
kept (delete the file to make all anew), and a run that was not finished goes on.
"""

from _quality import main

CLAIM = "MAE's linear probe stands above the untrained encoder's and raw pixels' on Fashion-MNIST, intervals apart"

if __name__ == "__main__":
    main("masked", CLAIM, __doc__, {"mae": 3}, {})
