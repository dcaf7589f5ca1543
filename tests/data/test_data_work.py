"""Many jobs keep their order, a bounded number of results and their errors; progress speaks only when it takes long."""

import threading
import time
from collections.abc import Iterator

import pytest

from twinlens.data import work
from twinlens.data.work import concurrently, track


def test_results_keep_their_order_and_wait_to_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    taken = []

    def items() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    def job(i: int) -> int:
        time.sleep(0.002 * (i % 3))
        return i * i

    results = concurrently(job, items())
    assert next(results) == 0
    assert len(taken) <= 4 * 2 + 1  # 2 workers
    assert list(results) == [i * i for i in range(1, 100)]


def test_jobs_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    meeting = threading.Barrier(2, timeout=5)
    assert len(list(concurrently(lambda _: meeting.wait(), range(4)))) == 4


def test_an_error_in_a_job_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(concurrently(lambda i: 1 // i, [1, 0, 1]))


def test_few_quick_items_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(range(1000), 1000, "decoding")) == list(range(1000))
    assert capsys.readouterr() == ("", "")


def test_many_items_say_one_line_at_the_start_and_one_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    list(track(range(1001), 1001, "decoding"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "decoding: 1,001 files"
    assert err.splitlines()[1].startswith("decoding: done, 1,001 in ")
    assert err.count("\n") == 2


def test_slow_items_and_bytes_speak_after_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    list(track([b"ab"] * 600, 1200, "downloading", size=len))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(work, "_LONG", -1.0)
    list(track([b"ab"] * 600, 1200, "downloading", size=len))
    assert capsys.readouterr().err.startswith("downloading: 1,200 bytes\ndownloading: done, 1,200 in ")
