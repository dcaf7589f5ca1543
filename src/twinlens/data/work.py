"""Many small jobs: on all processors, with bounded memory, and with progress where it takes long enough to be asked."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

T = TypeVar("T")
U = TypeVar("U")

_MANY = 1_000  # items
_LONG = 2.0  # seconds


def concurrently(function: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """`map` on threads, in order; only a few results exist at a time, however slowly they are taken."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[U]] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 4 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def track(items: Iterable[T], total: int, label: str, size: Callable[[T], int] | None = None) -> Iterator[T]:
    """The items, with progress on standard error if they are more than 1,000 or take more than 2 s.

    On a terminal a bar, elsewhere one line when it is clear that it takes long and one at the end. With `size`, `total`
    is the sum of the items' sizes in bytes and only the time decides.
    """
    console, begin, done, shown = Console(stderr=True), time.monotonic(), 0, False
    with ExitStack() as stack:
        bar = Progress(console=console, transient=True)
        task = bar.add_task(label, total=total)
        for item in items:
            if not shown and ((size is None and total > _MANY) or time.monotonic() - begin > _LONG):
                shown = True
                if console.is_terminal:
                    stack.enter_context(bar)
                else:
                    sys.stderr.write(f"{label}: {total:,} {'files' if size is None else 'bytes'}\n")
            yield item
            done += 1 if size is None else size(item)
            bar.update(task, completed=done)
    if shown:
        sys.stderr.write(f"{label}: done, {done:,} in {time.monotonic() - begin:.1f} s\n")
