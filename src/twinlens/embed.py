"""Samples -> embeddings, by a frozen encoder on clean views."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from twinlens.batch import Maker, Samples
from twinlens.encoders.contract import evaluating


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

    The encoder runs in evaluation mode and is handed back in the mode it came in.
    """
    with evaluating(encoder):
        rows = [encoder(view).float().cpu() for view in clean_views(samples, maker, device=device, index=index)]
    return torch.cat(rows)


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
