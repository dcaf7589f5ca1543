"""Two encoders side by side, one for pictures and one for texts, that embed into the same space."""

from torch import Tensor, nn

from twinlens.encoders.contract import dim_of
from twinlens.errors import InputError


class Towers(nn.Module):
    """A view -> (N, `dim`), through the tower that its kind asks for and a linear projection without bias.

    Radford et al. 2021, "Learning transferable visual models from natural language supervision", arXiv 2103.00020,
    section 2.3 and figure 3: floating views go to `image`, integer ones, the ids of words, to `text`. As there, only
    directions count: what comes out has no unit length yet.

    Args:
        first: (N, C, H, W) floating -> (N, D), with `dim` = D: the tower of pictures.
        second: (N, T) int64 -> (N, D'), with `dim` = D': the tower of texts.
        shared: Width of the space they share, `dim` above; 512 (the authors' published ViT-B models).
    """

    def __init__(self, first: nn.Module, second: nn.Module, *, shared: int = 512) -> None:
        super().__init__()
        if shared < 1:
            raise InputError(f"the space that two towers share is {shared} wide: expected 1 or more.")
        self.image, self.text, self.dim = first, second, shared
        self.project_image, self.project_text = _projection(first, shared), _projection(second, shared)

    def forward(self, view: Tensor) -> Tensor:
        """(N, C, H, W) floating or (N, T) int64 -> (N, dim)."""
        if view.is_floating_point():
            z: Tensor = self.project_image(self.image(view))
        else:
            z = self.project_text(self.text(view))
        return z


def _projection(tower: nn.Module, dim: int) -> nn.Linear:
    """Drawn with a deviation of D^-0.5, as in the authors' code."""
    layer = nn.Linear(dim_of(tower), dim, bias=False)
    nn.init.normal_(layer.weight, std=dim_of(tower) ** -0.5)
    return layer
