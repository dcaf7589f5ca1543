"""Counted randomness: every random number is a hash of where it is used, and nothing is ever consumed.

The hash is Threefry-2x32 with 13 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3": the fewest
rounds that pass BigCrush), written as tensor arithmetic so that it runs on any device and compiles into the code around
it. A key is two 32-bit words packed into one int64. As in JAX, `fold` derives a key from a key; the chain is

    (seed, epoch, sample index) -> key -> fold(key, view) -> fold(key, draw) -> uniform, normal

so the draws of a sample depend neither on the batch it is in nor on the process, device or moment they are made.
"""

import math

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)  # Salmon et al. 2011, table 3, 2x32
_PARITY = 0x1BD11BDA
_FOLD, _DRAW = 0, 1  # the counter's second word: folding and drawing from one key never share a counter


def threefry(key: tuple[Tensor, Tensor], counter: tuple[Tensor, Tensor], rounds: int = 13) -> tuple[Tensor, Tensor]:
    """Threefry-2x32 over int64 tensors that hold 32-bit words; all four broadcast against each other.

    Words live in int64 because torch has no unsigned 32-bit arithmetic: sums stay below 2^34, so nothing overflows and
    the compiled form is defined behaviour too.
    """
    schedule = (*key, _PARITY ^ key[0] ^ key[1])
    a, b = (counter[0] + key[0]) & _WORD, (counter[1] + key[1]) & _WORD
    for r in range(rounds):
        a = (a + b) & _WORD
        turn = _ROTATIONS[r % 8]
        b = a ^ (((b << turn) & _WORD) | (b >> (32 - turn)))
        if r % 4 == 3:
            i = r // 4 + 1
            a, b = (a + schedule[i % 3]) & _WORD, (b + schedule[(i + 1) % 3] + i) & _WORD
    return a, b


def _words(key: Tensor) -> tuple[Tensor, Tensor]:
    return (key >> 32) & _WORD, key & _WORD


def _pack(a: Tensor, b: Tensor) -> Tensor:
    return (a << 32) | b


def keys(seed: int, epoch: int, index: Tensor) -> Tensor:
    """One key for each sample: `index` (N,) int64 -> (N,) int64."""
    index = index.long()
    word = torch.tensor([seed & _WORD, epoch & _WORD], device=index.device)
    return _pack(*threefry((word[0], word[1]), _words(index)))


def seed(seed: int, step: int, rank: int) -> int:
    """A seed of torch's own generators for one step of one process: what is drawn from them is counted by the step."""
    return int(keys(seed, step, torch.tensor([rank]))[0])


def fold(key: Tensor, number: int) -> Tensor:
    """The key of the `number`-th thing under `key` (a view, a draw): (N,) -> (N,), independent for each number."""
    count = torch.full((), number, dtype=torch.int64, device=key.device)
    return _pack(*threefry(_words(key), (count, torch.full_like(count, _FOLD))))


def packed(key: Tensor, count: int) -> Tensor:
    """`count` random words of 64 bits for each key: (N,) -> (N, count) int64."""
    return _pack(*_drawn(key, count))


def bits(key: Tensor, count: int) -> Tensor:
    """`count` random words of 32 bits for each key: (N,) -> (N, count) int64 in [0, 2^32)."""
    return torch.stack(_drawn(key, (count + 1) // 2), dim=-1).flatten(1)[:, :count]


def _drawn(key: Tensor, pairs: int) -> tuple[Tensor, Tensor]:
    number = torch.arange(pairs, device=key.device)
    return threefry(_words(key[:, None]), (number, torch.full_like(number, _DRAW)))


def uniform(key: Tensor, *shape: int) -> Tensor:
    """Uniform float32 in [0, 1) on the 2^24 points that float32 holds exactly: (N,) -> (N, *shape)."""
    return ((bits(key, math.prod(shape)) >> 8).float() * 2**-24).view(-1, *shape)


def normal(key: Tensor, *shape: int) -> Tensor:
    """Standard normal float32 by Box and Muller (1958): (N,) -> (N, *shape)."""
    half = (math.prod(shape) + 1) // 2
    radius, turn = uniform(key, 2, half).unbind(1)
    radius = (-2 * torch.log1p(-radius)).sqrt()  # 1 - u lies in (0, 1], so the logarithm is finite
    both = torch.cat((radius * torch.cos(2 * math.pi * turn), radius * torch.sin(2 * math.pi * turn)), dim=1)
    return both[:, : math.prod(shape)].reshape(-1, *shape)


def permutation(count: int, seed: int, epoch: int) -> Tensor:
    """An order of `count` things: (count,) int64 on the processor, every order as likely (ties among 2^63 are rare)."""
    order = keys(seed, epoch, torch.arange(count))
    return (order & 0x7FFFFFFFFFFFFFFF).argsort(stable=True)


def choose(key: Tensor, count: int, among: int) -> Tensor:
    """`count` different numbers out of range(among) for each key, in random order: (N,) -> (N, count) int64."""
    return bits(key, among).argsort(dim=1, stable=True)[:, :count]
