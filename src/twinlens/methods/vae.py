"""VAE: say which codes a sample may have come from, as near as can be to all codes there are, and draw it from one."""

from math import log, prod
from typing import get_args

import torch
from torch import Tensor, nn

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of, shape_of
from twinlens.errors import InputError, unknown
from twinlens.heads.decoder import decoder, measured
from twinlens.losses.likelihood import Likelihood, drawn, kl, nats
from twinlens.method import Method
from twinlens.rate import Rate, with_rate
from twinlens.update.schedules import warmed


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
        beta_start: Weight at the start, which falls to `beta` over 0.7 of the run, evenly in its logarithm; 0: always
            `beta`. What matters most is so coded first, a dimension for each (as where a target for the divergence
            rises: Burgess et al. 2018, arXiv 1804.03599, section 5; the share is a guess).
        free_bits: Nats that each dimension may say on average over the batch at no cost; 0. Kingma et al. 2016, arXiv
            1606.04934, appendix C.8 (equation 15): 0.125 to 2 were better than 0.
        likelihood: What is said of a view: gaussian, bernoulli (whose greys are probabilities), or logistic, in 256
            levels (there, appendix C.5: a scale for each channel).
        decoder_width: Features of the decoder's last map, a multiple of 8; 32, a guess.
        decoder_hidden: Width of two fully connected layers before the decoder's first map; 0, none.
    """

    views = Views(large=1, strength="weak")
    progress: Tensor

    def __init__(
        self, encoder: nn.Module, *, dim: int = 20, beta: float = 1.0, beta_start: float = 0.0,
        free_bits: float = 0.0, likelihood: Likelihood = "gaussian", decoder_width: int = 32, decoder_hidden: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if likelihood not in get_args(Likelihood):
            raise unknown("likelihood", likelihood, get_args(Likelihood))
        if min(beta, beta_start, free_bits) < 0 or (beta_start and not beta):
            given = f"beta is {beta}, beta_start {beta_start} and free_bits {free_bits}"
            raise InputError(f"{given}: expected 0 or more, and a beta above 0 to fall to.")
        self.encoder = measured(encoder)
        self.posterior = nn.Linear(dim_of(encoder), 2 * dim)
        self.decoder = decoder(dim, shape_of(encoder), width=decoder_width, hidden=decoder_hidden)
        self.dim, self.likelihood, self.free_bits = dim, likelihood, free_bits
        self.beta, self.beta_start = beta, beta_start
        scales = [] if likelihood == "bernoulli" else [nn.Parameter(torch.zeros(()))]  # of its logarithm
        self.scale = with_rate(nn.ParameterList(scales), Rate(factor=10.0))
        self.register_buffer("progress", torch.zeros(()))
        self.numbers = prod(shape_of(encoder))

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        x = batch.views[0]
        mu, log_variance = self.posterior(self.encoder(x)).chunk(2, dim=1)  # (N, d), (N, d)
        epsilon = random.normal(batch.key, self.dim)
        z = mu + (log_variance / 2).exp() * epsilon
        return nats(self.likelihood, self.decoder(z), x, *self.scale), kl(mu, log_variance)

    def compare(self, reconstruction: Tensor, divergence: Tensor) -> Tensor:
        said = divergence.mean(0).clamp(min=self.free_bits).sum()
        beta: Tensor | float = self.beta
        if self.beta_start:
            beta = warmed(self.progress, log(self.beta_start), log(self.beta), 0.7).exp()
        return (reconstruction.mean() + beta * said) / self.numbers

    def update(self, progress: float, *parts: Tensor) -> None:
        self.progress.fill_(progress)

    def code(self, view: Tensor) -> Tensor:
        mu: Tensor = self.posterior(self.encoder(view))[:, : self.dim]
        return mu

    def decode(self, code: Tensor) -> Tensor:
        return drawn(self.likelihood, self.decoder(code))

    def draw(self, key: Tensor) -> Tensor:
        return random.normal(key, self.dim)

    def show(self, batch: Batch) -> dict[str, Tensor]:
        x = batch.views[0]
        return {"sample": x, "reconstruction": self.decode(self.code(x))}
