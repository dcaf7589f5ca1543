"""The vote of the nearest training samples: no training, hence nothing to tune on labels.

Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination", section 3.4.
"""

from torch import Tensor
from torch.nn.functional import normalize

from twinlens.evaluate.result import Labelled, Result, as_tensors, scored
from twinlens.nearest import top_k


def knn(train: Labelled, test: Labelled, *, k: int = 20, temperature: float = 0.07) -> Result:
    """Accuracy of the vote of the `k` nearest training samples by cosine (k: Caron et al. 2021, DINO, section 4.1)."""
    x, y, z, t = as_tensors(train, test)
    k = min(k, len(x))
    classes, y = y.unique(return_inverse=True)
    similarity, index = top_k(normalize(z), normalize(x), k)
    correct = classes[vote(similarity, y[index], temperature).argmax(1)] == t
    return scored("knn", correct, {"k": k, "temperature": temperature, "similarity": "cosine"})


def vote(similarity: Tensor, label: Tensor, temperature: float) -> Tensor:
    """The weight of each class: (M, k) similarities, best first, and (M, k) labels -> (M, K).

    exp(s / T) is taken after subtracting the best s, which changes no vote and cannot overflow.
    """
    weight = ((similarity - similarity[:, :1]) / temperature).exp()
    return weight.new_zeros(len(label), int(label.max()) + 1).scatter_add_(1, label, weight)
