"""VAE: say which codes a sample may have come from, as near as can be to all codes there are, and draw it from one."""

from math import prod
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of, shape_of
from twinlens.errors import InputError, unknown
from twinlens.heads.decoder import decoder, measured
from twinlens.losses.likelihood import bernoulli, discretised_logistic, gaussian, kl
from twinlens.method import Method
from twinlens.update.optimizers import Rate, with_rate

Likelihood = Literal["gaussian", "bernoulli", "logistic"]


class VAE(Method):
    """Kingma & Welling 2014, "Auto-encoding variational Bayes", with what later work added.

    arXiv 1312.6114, sections 2.3 and 2.4 (the second estimator, one sample of the noise) and appendix B. The loss is
    the negative bound in nats, divided by the numbers in a view, both terms alike: beta and free bits are as in their
    papers, and the loss is as large for views of any size. How far a view may be from what is drawn is one number,
    learnt: at a fixed deviation of 1 in [-2, 2] the prior would weigh most, and codes would say little (Rybkin et al.
    2021, "Simple and effective VAE training with calibrated decoders", arXiv 2006.13202). It starts at 1 and learns ten
    times as fast as the rest, a guess: a step of Adam moves it by no more than the rate.

    Args:
        encoder: (N, *shape) -> (N, D), with `dim` = D and `shape`; it is trained in place.
        dim: d, the width of the code; 20 (one of the widths in figure 2).
        beta: Weight of the divergence from the prior; 1, the bound. More makes dimensions independent (Higgins et al.
            2017, "beta-VAE", ICLR).
        free_bits: Nats that each dimension may say on average over the batch at no cost; 0. Kingma et al. 2016, arXiv
            1606.04934, appendix C.8 (equation 15): 0.125 to 2 were better than 0.
        likelihood: What is said of a view: gaussian, bernoulli (whose greys are probabilities), or logistic, in 256
            levels (there, appendix C.5: a scale for each channel).
        decoder_width: Features of the decoder's last map, a multiple of 8; 32, a guess.
        decoder_hidden: Width of two fully connected layers before the decoder's first map; 0, none.
    """

    views = Views(large=1, strength="weak")

    def __init__(
        self, encoder: nn.Module, *, dim: int = 20, beta: float = 1.0, free_bits: float = 0.0,
        likelihood: Likelihood = "gaussian", decoder_width: int = 32, decoder_hidden: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if likelihood not in get_args(Likelihood):
            raise unknown("likelihood", likelihood, get_args(Likelihood))
        if beta < 0 or free_bits < 0:
            raise InputError(f"beta is {beta} and free_bits {free_bits}: expected 0 or more.")
        self.encoder = measured(encoder)
        self.posterior = nn.Linear(dim_of(encoder), 2 * dim)
        self.decoder = decoder(dim, shape_of(encoder), width=decoder_width, hidden=decoder_hidden)
        self.dim, self.beta, self.free_bits, self.likelihood = dim, beta, free_bits, likelihood
        scales = [] if likelihood == "bernoulli" else [nn.Parameter(torch.zeros(()))]  # of its logarithm
        self.scale = with_rate(nn.ParameterList(scales), Rate(factor=10.0))
        self.numbers = prod(shape_of(encoder))

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        x = batch.views[0]
        mu, log_variance = self.posterior(self.encoder(x)).chunk(2, dim=1)  # (N, d), (N, d)
        epsilon = random.normal(batch.key, self.dim)
        z = mu + (log_variance / 2).exp() * epsilon
        return self.nats(self.decoder(z), x), kl(mu, log_variance)

    def compare(self, reconstruction: Tensor, divergence: Tensor) -> Tensor:
        said = divergence.mean(0).clamp(min=self.free_bits).sum()
        return (reconstruction.mean() + self.beta * said) / self.numbers

    def nats(self, drawn: Tensor, x: Tensor) -> Tensor:
        """-log p(x | z) of each sample, (N,), of what the decoder says of it."""
        if self.likelihood == "bernoulli":
            return bernoulli(drawn, x)
        if self.likelihood == "logistic":
            return discretised_logistic(drawn, self.scale[0], x)
        return gaussian(drawn, x, self.scale[0])

    def code(self, view: Tensor) -> Tensor:
        mu: Tensor = self.posterior(self.encoder(view))[:, : self.dim]
        return mu

    def decode(self, code: Tensor) -> Tensor:
        drawn: Tensor = self.decoder(code)
        if self.likelihood == "bernoulli":
            return 4 * drawn.sigmoid() - 2
        return drawn.clamp(-2, 2) if self.likelihood == "logistic" else drawn  # the outermost levels have no end

    def draw(self, key: Tensor) -> Tensor:
        return random.normal(key, self.dim)

    def show(self, batch: Batch) -> dict[str, Tensor]:
        x = batch.views[0]
        return {"sample": x, "reconstruction": self.decode(self.code(x))}
