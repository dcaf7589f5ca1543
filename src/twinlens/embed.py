"""Samples -> embeddings, by a frozen encoder on clean views."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from twinlens.batch import Divides, Maker, Raw, Samples
from twinlens.encoders.contract import evaluating

_TEXTS = 128  # embedded at a time: 128 x 128 words have activations of some 100 MB in the smaller transformers


def clean_views(
    samples: Samples, maker: Maker, *, device: torch.device, index: Tensor | None = None, batch: int = 512
) -> Iterator[Tensor]:
    """The clean views of the samples at `index` (all of them, if None), in order, at most `batch` at a time."""
    for some in (torch.arange(len(samples)) if index is None else index).split(batch):
        yield maker.clean(tuple(tensor.to(device) for tensor in samples.fetch(some)))


@torch.inference_mode()
def embed(
    encoder: nn.Module, samples: Samples, maker: Maker, *, device: torch.device, index: Tensor | None = None
) -> Tensor:
    """What the encoder gives for the clean views of the samples at `index`, or of all: (N, D) float32 on the processor.

    The encoder runs in evaluation mode and is handed back in the mode it came in. Samples of different lengths are
    taken in the order of their length, so that little is filled up.
    """
    if samples.lengths is None:
        with evaluating(encoder):
            rows = [encoder(view).float().cpu() for view in clean_views(samples, maker, device=device, index=index)]
        return torch.cat(rows)
    index = torch.arange(len(samples)) if index is None else index
    order = samples.lengths[index].argsort(stable=True)
    with evaluating(encoder):
        rows = [_pooled(encoder, maker, samples.fetch(some), device) for some in index[order].split(_TEXTS)]
    z = torch.cat(rows)
    return torch.empty_like(z).index_copy_(0, order, z)


def _pooled(encoder: nn.Module, maker: Maker, raw: Raw, device: torch.device) -> Tensor:
    """The mean over the pieces of each sample, where its maker takes it to pieces: (n, D)."""
    raw = tuple(tensor.to(device) for tensor in raw)
    if not isinstance(maker, Divides):
        return encoder(maker.clean(raw)).float().cpu()  # type: ignore[no-any-return]
    views, owner = maker.pieces(raw)
    z = torch.cat([encoder(some).float() for some in views.split(_TEXTS)])
    if len(z) == int(owner[-1]) + 1:
        return z.cpu()
    total = z.new_zeros(int(owner[-1]) + 1, z.shape[1]).index_add_(0, owner, z)
    return (total / owner.bincount()[:, None]).cpu()


def to_parquet(
    path: Path,
    encoder: nn.Module,
    parts: Mapping[str, Samples],
    maker: Maker,
    *,
    device: torch.device,
    rows: int = 8192,
) -> tuple[int, int]:
    """Writes the embeddings of every sample of every part, `rows` at a time, whatever their number; returns (N, D).

    Columns: part, index in it, name and label where samples have them, embedding (a list of D float32). The file
    appears under its name only when it is whole.
    """
    temporary = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    writer, total = None, 0
    try:
        for part, samples in parts.items():
            for index in torch.arange(len(samples)).split(rows):
                table = _table(part, samples, index, embed(encoder, samples, maker, device=device, index=index))
                writer = writer or pq.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
                total += len(index)
        assert writer is not None
        writer.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return total, table.schema.field("embedding").type.list_size


def _table(part: str, samples: Samples, index: Tensor, embeddings: Tensor) -> pa.Table:
    n, dim = embeddings.shape
    columns = {"part": pa.array([part] * n).dictionary_encode(), "index": pa.array(index.numpy())}
    if samples.names is not None:
        columns["name"] = pa.array([samples.names[i] for i in index.tolist()])
    if samples.labels is not None:
        labels = samples.labels[index.numpy()]
        columns["label"] = pa.array([samples.classes[i] for i in labels] if samples.classes else labels)
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.numpy().ravel()), dim)
    return pa.table(columns)
