"""BiGAN: an encoder and a generator, each the other's inverse, because a discriminator sees both in pairs."""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of, shape_of
from twinlens.heads.decoder import decoder, measured
from twinlens.heads.spectral import PairDiscriminator, advance
from twinlens.method import Method
from twinlens.rate import Rate, with_rate


class BiGAN(Method):
    """Donahue, Krahenbuhl, Darrell 2017, "Adversarial feature learning".

    arXiv 1605.09782, section 3; also Dumoulin et al. 2017, arXiv 1606.00704. D tells pairs (x, E(x)) from (G(z), z),
    with odds above one for the former; E and G are trained with the labels swapped. Both losses go back at once. D
    is normalised as by Miyato et al. 2018, arXiv 1802.05957, instead of over the batch; z is normal, as in arXiv
    1606.00704.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` and `shape`; E is a linear map of what it gives.
        dim: Width of z; 200, for ImageNet (section 4).
        generator_width: Features of the generator's last map; a guess.
        discriminator_width: Features of the discriminator's first map, which double with each halving; a guess.
        hidden: Width of the discriminator's layers that see no map; a guess.
        discriminator_rate: Factor of the discriminator's learning rate; 1.
        momentum: Of every part, in place of the optimizer's own (of AdamW, the first beta); 0.5, as in DCGAN (Radford
            et al. 2016, arXiv 1511.06434, section 4). At 0.9 the generator drew a few things (on Fashion-MNIST).
        cycle: Weight of the squared error of G(E(x)), the mean over pixels (Li et al. 2017, "ALICE", arXiv 1709.01215,
            section 3); 0.
    """

    views = Views(large=1, strength="weak")
    coupled = False

    def __init__(
        self, encoder: nn.Module, *, dim: int = 200, generator_width: int = 32, discriminator_width: int = 32,
        hidden: int = 512, discriminator_rate: float = 1.0, momentum: float = 0.5, cycle: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        shape = shape_of(measured(encoder))
        self.encoder = nn.Sequential(encoder, nn.Linear(dim_of(encoder), dim))
        self.generator = decoder(dim, shape, width=generator_width)
        discriminator = PairDiscriminator(shape, dim, width=discriminator_width, hidden=hidden)
        self.discriminator = with_rate(discriminator, Rate(discriminator_rate, momentum=momentum))
        with_rate(self, Rate(momentum=momentum))
        self.dim, self.cycle = dim, cycle

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        x, views, codes = batch.views[0], *self.pairs(batch)
        still = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        real, generated = functional_call(self.discriminator, still, (views, codes)).chunk(2)
        deceiving = softplus(real) + softplus(-generated)  # (N,)
        real, generated = self.discriminator(views.detach(), codes.detach()).chunk(2)
        telling = softplus(-real) + softplus(generated)
        if self.cycle:
            deceiving = deceiving + self.cycle * (self.decode(codes[: len(x)]) - x).square().flatten(1).mean(1)
        return (deceiving + telling,)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def update(self, progress: float, *parts: Tensor) -> None:
        advance(self.discriminator)

    def pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the discriminator is to tell apart: (x, E(x)), then (G(z), z); (2N, *shape) and (2N, dim)."""
        x = batch.views[0]
        z = self.draw(batch.key).to(x)  # (N, dim)
        return torch.cat((x, self.decode(z))), torch.cat((self.code(x), z))

    def code(self, view: Tensor) -> Tensor:
        code: Tensor = self.encoder(view)
        return code

    def decode(self, code: Tensor) -> Tensor:
        return 2 * torch.tanh(self.generator(code))  # views lie in [-2, 2]

    def draw(self, key: Tensor) -> Tensor:
        return random.normal(key, self.dim)

    def show(self, batch: Batch) -> dict[str, Tensor]:
        x = batch.views[0]
        return {"sample": x, "reconstruction": self.decode(self.code(x))}

    def tell(self, batch: Batch) -> dict[str, float]:
        real, generated = self.discriminator(*self.pairs(batch)).chunk(2)
        return {"discriminator": float(torch.cat((real > 0, generated < 0)).float().mean())}
