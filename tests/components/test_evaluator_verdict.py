"""What the gate found: the line that a person reads, and the file."""

import dataclasses
import json
import math

import pytest

from components.evaluator.settings import GateSettings
from components.evaluator.verdict import SongFigures, Verdict, read_songs, write_songs
from components.files import GATE_FILE

BOUNDS = GateSettings(max_nats=8.0, max_nats_over_ngram=-0.25, max_nats_over_service=0.125)


def verdict(nats=6.0, over_ngram=-1.0, over_service=None, blessed=False, settings=BOUNDS):
    return Verdict(blessed, nats, over_ngram, over_service, settings)


@pytest.mark.parametrize(
    ("figures", "missed"),
    [
        ({}, []),
        ({"over_service": 0.125}, []),
        ({"over_service": -3.0}, []),
        ({"over_ngram": -0.2501}, []),
        (
            {"nats": 9.5},
            ["against the bound it stands at 9.500, allowed is 8.000: 1.500 nats too many"],
        ),
        # TFMA's bounds are exclusive, its change threshold is not.
        (
            {"nats": 8.0},
            ["against the bound it stands at 8.000, allowed is 8.000: 0.000 nats too many"],
        ),
        (
            {"over_ngram": 0.5},
            ["against the n-gram it stands at 0.500, allowed is -0.250: 0.750 nats too many"],
        ),
        (
            {"over_service": 0.25},
            [
                "against the model in service it stands at 0.250, allowed is 0.125: "
                "0.125 nats too many"
            ],
        ),
        (
            {"nats": math.nan, "over_ngram": math.nan, "over_service": math.nan},
            [
                "against the bound it is no number (nan)",
                "against the n-gram it is no number (nan)",
                "against the model in service it is no number (nan)",
            ],
        ),
        ({"nats": math.inf}, ["against the bound it is no number (inf)"]),
    ],
)
def test_every_bound_that_is_missed_is_named_with_how_much(figures, missed):
    found = verdict(**figures)
    assert found.shortfalls == missed
    for words in missed:
        assert words in found.line()


def test_the_line_says_all_figures_and_the_outcome():
    assert verdict(6.0, -1.0, blessed=True).line() == (
        "blessed: held-out 6.000 nats an event, the n-gram 7.000; beats the n-gram by 1.000"
    )
    assert verdict(6.0, 0.5, 0.25, blessed=True).line() == (
        "blessed: held-out 6.000 nats an event, the n-gram 5.500, the model in service 5.750"
    )
    assert verdict(9.0, -1.0, 0.5).line() == (
        "refused: held-out 9.000 nats an event, the n-gram 10.000, the model in service 8.500; "
        "against the bound it stands at 9.000, allowed is 8.000: 1.000 nats too many; "
        "against the model in service it stands at 0.500, allowed is 0.125: 0.375 nats too many"
    )


@pytest.mark.parametrize("over_service", [None, 0.5])
def test_what_is_written_can_be_read(tmp_path, over_service):
    found = verdict(9.0, -1.0, over_service)
    found.write(str(tmp_path))
    assert Verdict.read(str(tmp_path)) == found
    value = json.loads((tmp_path / GATE_FILE).read_text())
    assert value["shortfalls"] == found.shortfalls
    assert value["settings"] == dataclasses.asdict(BOUNDS)


def test_a_verdict_without_numbers_can_be_read_too(tmp_path):
    verdict(math.nan, math.nan).write(str(tmp_path))
    again = Verdict.read(str(tmp_path))
    assert math.isnan(again.nats)
    assert len(again.shortfalls) == 2


def test_a_figure_that_is_no_number_is_still_strict_json(tmp_path):
    verdict = Verdict(False, math.nan, math.inf, math.nan, GateSettings())
    verdict.write(str(tmp_path))

    def refuse(constant):
        raise AssertionError(constant)

    json.loads((tmp_path / "gate.json").read_text(), parse_constant=refuse)
    again = Verdict.read(str(tmp_path))
    assert math.isnan(again.nats)
    assert math.isinf(again.nats_minus_ngram)
    assert math.isnan(again.nats_minus_service)


def test_the_figures_of_songs_that_are_written_can_be_read(tmp_path):
    songs = [SongFigures("b", 4.5, -1.0, None), SongFigures("a", 2.0, 0.5, 0.25)]
    write_songs(songs, str(tmp_path))
    assert read_songs(str(tmp_path)) == songs
    write_songs([SongFigures("a", math.nan, math.inf, None)], str(tmp_path))
    (again,) = read_songs(str(tmp_path))
    assert math.isnan(again.nats)
    assert again.nats_minus_ngram == math.inf
