"""Synchronised batch norm on one process is torch's own; across processes see test_guarantee.py."""

import torch
from torch import nn

from twinlens import distributed


def test_one_process_is_the_identity() -> None:
    x = torch.randn(3, 2)
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert distributed.gather(x) is x
    assert distributed.share(torch.arange(5)).tolist() == [0, 1, 2, 3, 4]
    distributed.synchronise(module)
    assert type(module[1]) is nn.BatchNorm1d


def test_batch_norm_equals_torchs(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(distributed._Sum, "apply", lambda x: x)
    for shape in [(6, 3), (4, 3, 5, 5)]:
        ours, theirs = distributed.SynchronisedBatchNorm(3), nn.BatchNorm1d(3) if len(shape) == 2 else nn.BatchNorm2d(3)
        x = 100 + torch.randn(shape)
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)
        assert ours.num_batches_tracked == theirs.num_batches_tracked == 1
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
