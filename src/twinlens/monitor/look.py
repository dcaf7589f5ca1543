"""A look at a method while it trains: what its encoder gives for fixed samples, in evaluation mode, without labels."""

import math
import re
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from twinlens import random
from twinlens.batch import Batch, Maker, Samples, Views
from twinlens.embed import clean_views, embed
from twinlens.encoders.contract import evaluating
from twinlens.errors import InputError
from twinlens.feed import create
from twinlens.method import Generates, Method, Watched
from twinlens.monitor.geometry import alignment, anisotropy, cka, lidar, perplexity, uniformity
from twinlens.monitor.modes import coarse, modes
from twinlens.monitor.spectrum import alpha_req, dead, rankme, spread

CLASSES, VIEWS, PAIRS = 256, 4, 256
"""Held-out samples and views of each that LiDAR compares; training samples whose pairs the method compares."""
FORWARDS = 15_000
"""What a look costs in encodings: some 4,000 of held-out samples, views and pairs, and what is computed from them."""
EARLY = (0.05, 0.1, 0.15)  # shares of a run after which there is a look however short it is
_EPOCH = 2**32 - 2  # that no run reaches: its keys draw the views of a look, the same in every look
_PROTOTYPES = re.compile(r"(.*\.)?(prototypes|centroids)(\.weight)?")  # what methods call the clusters they have


class Look:
    """Looks at a method and its encoder, always at the same views of the same samples.

    `held` are samples that training never sees, `learn` those it learns from; of the latter some are encoded and
    compared as in training, once as they are and once with every view of another sample, which gives the chance level.
    `initial` is the encoder before the first step. What is drawn depends on `seed` alone.
    """

    def __init__(
        self, initial: nn.Module, held: Samples, learn: Samples, maker: Maker, views: Views, *, batch: int, seed: int,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.held, self.learn, self.maker, self.asked = held, learn, maker, views
        self.batch, self.seed, self.device = min(batch, PAIRS), seed, device
        self.initial = self.embed(initial)
        self.weights = [p.detach().clone() for p in initial.parameters()]

    def embed(self, encoder: nn.Module) -> Tensor:
        """The held-out samples' embeddings, (N, D)."""
        return embed(encoder, self.held, self.maker, device=self.device)

    @torch.inference_mode()
    def __call__(self, method: Method, encoder: nn.Module, z: Tensor, *, trained: bool) -> dict[str, float]:
        """What there is to say of `z`, the held-out embeddings (N, D), and of what the method compares.

        `trained` is false before the first step, when batch norms have no averages to evaluate with: what passes
        through the method's heads would mean nothing. Keys: spread, rank (RankMe), alpha, dead, uniformity, anisotropy,
        alignment, lidar, changed (1 - CKA with the untrained encoder's), moved (how far the encoder's weights have
        come, as a share of their first norm); and compared (the least spread, over views, of what the method compares),
        compared_rank (RankMe of its first part, as a share), chance (the loss of broken pairs), gap (how far below it
        the loss is, as a share), clusters (in use, of `of_clusters`), agreement (the cosine of student and slow copy),
        modes and of_modes (how many held-out samples are nearest to some that it draws, and to as many real views),
        where there is such a thing; and what the method tells of itself (`Watched`). Of embeddings that are not finite
        it says no more than that: `finite` is 0.
        """
        if not z.isfinite().all():
            return {"finite": 0.0}  # nothing else can be said
        with evaluating(method):
            values = {
                "spread": spread(z), "rank": rankme(z), "alpha": alpha_req(z), "dead": dead(z),
                "uniformity": uniformity(z), "anisotropy": anisotropy(z), "changed": 1 - cka(z, self.initial),
                "moved": self._moved(encoder), **self._views(encoder),
            }  # fmt: skip
            if trained:
                values |= self._pairs(method) | self._agreement(method, encoder, z) | self._modes(method)
        return {name: float(value) for name, value in values.items() if math.isfinite(value)}

    def _moved(self, encoder: nn.Module) -> float:
        pairs = list(zip(encoder.parameters(), self.weights, strict=True))
        squares = sum(float((p - first).square().sum()) for p, first in pairs)
        return math.sqrt(squares / max(sum(float(first.square().sum()) for _, first in pairs), 1e-12))

    def _views(self, encoder: nn.Module) -> dict[str, float]:
        index = torch.arange(min(len(self.held), CLASSES))
        views = self._batch(self.held, index, Views(large=VIEWS, strength=self.asked.strength)).views
        z = torch.stack([encoder(view).float() for view in views], dim=1)  # (N, V, D)
        if not z.isfinite().all():
            return {"finite": 0.0}
        apart = {"alignment": alignment(z[:, 0], z[:, 1])}
        if torch.equal(views[0], views[1]):
            return apart  # views that are all the same tell nothing of what tells samples from views
        found, most = lidar(z), max(min(len(z) - 1, z.shape[2]), 1)
        return apart | {"lidar": found, "lidar_share": found / most}

    def _pairs(self, method: Method) -> dict[str, float]:
        index = random.permutation(len(self.learn), self.seed, _EPOCH)[: self.batch]
        batch = self._batch(self.learn, index, self.asked)
        values = dict(method.tell(batch)) if isinstance(method, Watched) else {}
        parts = method.encode(batch)
        seen = list(_embeddings(parts)) if len(batch.views) > 1 else []  # with one, parts are pixels as a rule
        if not all(part.isfinite().all() for part in seen):
            return {"finite": 0.0}
        values |= _clusters(method, seen)
        if seen:
            values |= {"compared": min(map(spread, seen)), "compared_rank": rankme(seen[0]) / min(seen[0].shape)}
        if len(batch.views) == 1 and batch.target is None:
            return values  # there is no pair to break
        broken = batch._replace(
            views=tuple(view.roll(v, 0) for v, view in enumerate(batch.views)),
            target=None if batch.target is None else batch.target.roll(len(batch.views), 0),
        )
        try:
            paired, chance = float(method.compare(*parts)), float(method.compare(*method.encode(broken)))
        except InputError:  # too few for what the method asks of a batch
            return values
        return values | {"chance": chance, "gap": (chance - paired) / max(abs(chance), abs(paired), 1e-12)}

    def _agreement(self, method: Method, encoder: nn.Module, z: Tensor) -> dict[str, float]:
        slow = _slow_copy(method, encoder)
        if slow is None:
            return {}
        index = torch.arange(min(len(self.held), PAIRS))
        t = embed(slow, self.held, self.maker, device=self.device, index=index)
        s, t = (normalize(x - x.mean(dim=0)) for x in (z[index], t))
        return {"agreement": float((s * t).sum(dim=1).mean())}

    def _modes(self, method: Method) -> dict[str, float]:
        """Of a method that draws samples: how many held-out ones are nearest to some of them, or of as many real ones.

        The real ones are views of training samples as the method sees them: what it would draw at best.
        """
        count = min(len(self.held), len(self.learn), PAIRS)
        if not isinstance(method, Generates):
            return {}
        batch = self._batch(self.learn, random.permutation(len(self.learn), self.seed, _EPOCH)[:count], self.asked)
        drawn = coarse(method.decode(method.draw(batch.key)))
        if not drawn.isfinite().all():
            return {"finite": 0.0}
        clean = clean_views(self.held, self.maker, device=self.device, index=torch.arange(count))
        held = coarse(torch.cat(list(clean)))
        return {"modes": modes(drawn, held), "of_modes": modes(coarse(batch.views[0]), held)}

    def _batch(self, samples: Samples, index: Tensor, views: Views) -> Batch:
        key = random.keys(self.seed, _EPOCH, index.to(self.device))
        raw = tuple(tensor.to(self.device) for tensor in samples.fetch(index))
        target = None
        if views.labels and samples.labels is not None:
            target = torch.from_numpy(samples.labels)[index].to(self.device)
        return create(self.maker, views, raw, index.to(self.device), key, target)


def gradient(method: nn.Module) -> dict[str, float]:
    """The norm of the gradient that the last step left, and its share of the norm of the weights it belongs to."""
    learnt = [(p.grad, p) for p in method.parameters() if p.grad is not None]
    if not learnt:
        return {}
    norm, weights = (float(nn.utils.get_total_norm(list(tensors))) for tensors in zip(*learnt, strict=True))
    return {"gradient": norm, "gradient_ratio": norm / max(weights, 1e-12)}


def moments(total: int, forwards: int, *, least: int = 4, most: int = 100, cost: float = 0.02) -> frozenset[int]:
    """The steps of a run of `total` after which to look: after 5, 10 and 15 %, then evenly spaced to the last one.

    As many looks as cost a share `cost` of the encoding of `forwards` views, each of which takes about three encodings
    to learn from; but `least` of those that are evenly spaced. The early ones are there to see a collapse in time.
    """
    looks = min(max(int(cost * 3 * forwards / FORWARDS) - len(EARLY), least), most)
    shares = (*EARLY, *((k + 1) / looks for k in range(looks)))
    return frozenset(max(1, round(total * share)) for share in shares)


def _embeddings(parts: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """Those of a method's parts that are embeddings, view by view: (N, D) each, D at least 8."""
    for part in parts:
        if part.is_floating_point() and part.ndim in (2, 3) and part.shape[-1] >= 8:
            yield from part.float().unbind(1) if part.ndim == 3 else (part.float(),)


def _clusters(method: Method, seen: Sequence[Tensor]) -> dict[str, float]:
    """How many of its clusters a method assigns some sample to, by the nearest to its first view."""
    w = next((tensor for name, tensor in method.state_dict().items() if _PROTOTYPES.fullmatch(name)), None)
    if w is None or not seen or not w.any():
        return {}
    z, w = seen[0], normalize(w[0] if w.ndim > 2 else w, dim=-1)  # of several clusterings the first
    w = w.to(z)
    return {"clusters": perplexity((z @ w.T).argmax(dim=1), len(w)), "of_clusters": float(min(len(w), len(z)))}


def _slow_copy(method: Method, encoder: nn.Module) -> nn.Module | None:
    """The copy of the encoder that follows it without gradient, if the method keeps one."""
    shapes = [p.shape for p in encoder.parameters()]
    for module in method.modules():
        if module is not encoder and type(module) is type(encoder):
            parameters = list(module.parameters())
            if [p.shape for p in parameters] == shapes and not any(p.requires_grad for p in parameters):
                return module
    return None
