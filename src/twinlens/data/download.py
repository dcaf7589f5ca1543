"""A file from the network, into the cache, whole and with the right checksum or not at all."""

import os
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import BinaryIO
from urllib.request import urlopen

from twinlens.data.work import track
from twinlens.errors import InputError

_BLOCK = 2**16
_PATIENCE = 30  # seconds without an answer


def download(url: str, checksum: str, folder: Path) -> Path:
    """`url` as a file in `folder`; its MD5 must be `checksum`, the one its publishers give.

    Raises OSError or HTTPException if it cannot be had, InputError if it is another file than expected.
    """
    path = folder / url.rsplit("/", 1)[1]
    part = path.with_suffix(f".{os.getpid()}.part")
    folder.mkdir(parents=True, exist_ok=True)
    digest = md5(usedforsecurity=False)
    try:
        with urlopen(url, timeout=_PATIENCE) as answer, part.open("wb") as file:
            total = int(answer.headers.get("Content-Length") or 0)
            for block in track(_blocks(answer), total, f"downloading {path.name}", size=len):
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != checksum:
            raise InputError(
                f"{url} gave a file with MD5 {digest.hexdigest()}, expected {checksum}: the download was cut short or "
                f"altered; try again, or put {path.name} into {folder} from a source you trust"
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block
