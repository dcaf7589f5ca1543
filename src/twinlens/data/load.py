"""Whatever the user names -> pictures."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinlens.batch import Split
from twinlens.data import idx, known
from twinlens.data.arrays import Part, from_arrays, from_file
from twinlens.data.folder import from_folder
from twinlens.errors import InputError, unknown

_LEAST = 8  # pixels


def load(what: str | Path | NDArray[Any], *, size: int | None = None) -> Split:
    """Pictures from an array, a .npy or .npz file, a folder of pictures, or a data set known by name.

    `size` is the side in pixels of the views that will be made (None: 64); pictures of mixed sizes are stored half as
    large again. A known name comes first: write ./digits for a folder of that name. Raises InputError.
    """
    if size is not None and size < _LEAST:
        raise InputError(f"size is {size}: expected a view of at least {_LEAST} pixels")
    if isinstance(what, np.ndarray):
        return from_arrays("array", Part(what), size=size)
    if not isinstance(what, str | Path):
        raise InputError(f"data is a {type(what).__name__}: expected a path, a known name or a NumPy array")
    if what in known.names():
        return known.from_name(str(what))
    path = Path(what).expanduser()
    if path.is_dir() and (parts := idx.find(path)) is not None:
        return from_arrays(path.name, *parts, size=size)
    if path.is_dir():
        return from_folder(path, size=size)
    if path.suffix.lower() in (".npy", ".npz") and path.is_file():
        return from_file(path, size=size)
    if path.exists():
        raise InputError(f"{path} is not data that is understood: expected a folder of pictures, a .npy or a .npz file")
    raise unknown("path or name of data", str(what), known.names())
