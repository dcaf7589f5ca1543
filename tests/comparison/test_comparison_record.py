"""What is kept of a run, and which baselines runs share."""

import json
from dataclasses import replace

from twinlens.comparison.record import Record, _shared
from twinlens.evaluate.baselines import RAW, UNTRAINED
from twinlens.evaluate.result import Result

BASELINES = {RAW: Result("knn", 0.6, (0.5, 0.7)), UNTRAINED: Result("knn", 0.5, (0.4, 0.6))}
FIRST = Record(
    "simclr", 0, "c/simclr", encoder="small", start="a", size=28, views=100, seconds=1.0, memory=500.0,
    watched={"rank": 9.0}, notes=("one file was skipped",),
    results=(Result("knn", 0.7, (0.6, 0.8), {"k": 20}, BASELINES),),
)  # fmt: skip


def test_a_record_is_kept_as_it_was() -> None:
    assert Record.from_dict(json.loads(json.dumps(FIRST.as_dict()))) == FIRST


def test_runs_share_the_raw_input_and_the_untrained_encoder_where_those_are_the_same() -> None:
    second = replace(FIRST, method="byol", results=())
    assert _shared(second, [FIRST]) == {name: [result] for name, result in BASELINES.items()}
    for other in ({"seed": 1}, {"start": "b"}):
        assert list(_shared(replace(second, **other), [FIRST])) == [RAW]
    assert _shared(replace(second, start="b", size=14), [FIRST]) == {}
    assert _shared(second, [replace(FIRST, results=())]) == {}
