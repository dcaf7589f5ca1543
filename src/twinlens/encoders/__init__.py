"""Encoders: a view -> an embedding for each sample.

An encoder is any module with `dim`, the width D, and `forward(view) -> (N, D)`. One that can give the parts of a sample
has `tokens(view, keep=None) -> (N, T, D)` too, with `patchify` (N, T, P), its inverse `unpatchify`, and `count`, which
is T. Its name is that of the public function which builds it, `(channels, size, *, settings) -> Module`.
"""
