"""Every joint-embedding method on Fashion-MNIST, beside raw pixels and the untrained encoder.

The runs are the recipes of twinlens.recipes.fashion_mnist, over one small encoder (iBOT: over a small transformer,
since it hides patches), last checkpoints. Their epochs take about as long as SimCLR's six, two and a half minutes of
two idle cores. It resumes where it stopped: rows that the result has are kept (delete the file to make all anew), and a
run that was not finished goes on.

    python benchmarks/joint_embedding.py                                      one seed each, three for six: three hours
    python benchmarks/joint_embedding.py --methods swav --seeds 1 --set epochs=32             one run of half an hour
    python benchmarks/joint_embedding.py --methods swav --validation --set epsilon=0.1 epochs=2    to choose settings
"""

from _quality import Table, main

CLAIM = (
    "the joint-embedding methods in the rows stand above the untrained encoder and raw pixels on Fashion-MNIST, "
    "intervals apart, by nearest neighbours or a probe"
)
SIX = ("simclr", "byol", "vicreg", "mocov2", "swav", "barlowtwins")  # with three seeds
OTHERS = ("mocov3", "nnclr", "simsiam", "deepclusterv2", "wmse", "dino", "ibot", "lejepa", "siamese", "supcon")

TABLE = Table(
    "joint_embedding",
    CLAIM,
    dict.fromkeys(SIX, 3) | dict.fromkeys(OTHERS, 1),
    changes={"byol": {"epochs": 4}},  # the recipe's 12 take three times as long
    smallest={"simclr": {}, "byol": {}, "swav": {}, "supcon": {}, "ibot": {"patch": 2, "small_size": 4}},
)

if __name__ == "__main__":
    main(TABLE, __doc__)
