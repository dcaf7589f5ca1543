"""What a trained encoder has to beat."""

from torch import Tensor, nn
from torch.nn import functional as F

RAW, UNTRAINED = "raw input", "untrained encoder"
_NUMBERS = 1024  # at most, for a raw sample: a probe on more learns slowly, and pooled pixels serve it no worse


class Raw(nn.Module):
    """The view itself as its features: (N, ...) -> (N, D); pictures of more than 1,024 numbers are pooled to fewer."""

    def forward(self, view: Tensor) -> Tensor:
        if view.ndim == 4 and view[0].numel() > _NUMBERS:
            view = F.adaptive_avg_pool2d(view, int((_NUMBERS / view.shape[1]) ** 0.5))
        return view.flatten(1)
