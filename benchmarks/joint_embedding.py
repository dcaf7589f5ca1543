"""Every joint-embedding method on Fashion-MNIST, beside raw pixels and the untrained encoder.

The runs are the recipes of twinlens.recipes.fashion_mnist, over one small encoder (iBOT: over a small transformer,
since it hides patches), last checkpoints. Compute is equal in seconds: the epochs below are what two cores do in about
four minutes, measured once beside SimCLR. It resumes where it stopped: rows that the result has are kept (delete the
file to make all anew), and a run that was not finished goes on.

    python benchmarks/joint_embedding.py                                      one seed each, three for six: three hours
    python benchmarks/joint_embedding.py --methods swav --seeds 1 --set epochs=32             one run of half an hour
    python benchmarks/joint_embedding.py --methods swav --validation --set epsilon=0.1 epochs=2    to choose settings
"""

from _quality import main

CLAIM = (
    "the joint-embedding methods in the rows stand above the untrained encoder and raw pixels on Fashion-MNIST, "
    "intervals apart, by nearest neighbours or a probe"
)
EPOCHS = {
    "simclr": 6,
    "byol": 4,
    "vicreg": 6,
    "mocov2": 6,
    "swav": 4,
    "barlowtwins": 5,
    "mocov3": 4,
    "nnclr": 4,
    "simsiam": 4,
    "deepclusterv2": 4,
    "wmse": 6,
    "dino": 3,
    "ibot": 4,
    "lejepa": 3,
    "siamese": 6,
    "supcon": 6,
}
THREE_SEEDS = ("simclr", "byol", "vicreg", "mocov2", "swav", "barlowtwins")

if __name__ == "__main__":
    seeds = {method: 3 if method in THREE_SEEDS else 1 for method in EPOCHS}
    main("joint_embedding", CLAIM, __doc__, seeds, EPOCHS)
