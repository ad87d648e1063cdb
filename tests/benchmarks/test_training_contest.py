"""Contests: the same events for all, results that can be made again, curves from them."""

import json
import math
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import _long
from benchmarks._contest import prepare, scored_places, windows
from benchmarks._curves import comparisons, curve, markdown, plot, put_into
from benchmarks._long import Clock, Run, carry_out, read
from benchmarks.training import main, quiet_seconds, table
from music.errors import SegueError

TINY = (
    "training.precision=float32",
    "model.units=[8,8,8]",
    "model.dense=8",
    "model.embedding=4",
    "training.epochs=3",
    "training.patience=3",
)
LENGTH = 75


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve songs on few pitches, some of them shorter than a window, as MIDI files."""
    from music.midi import write_midi
    from music.song import Song

    folder = tmp_path_factory.mktemp("songs")
    for number in range(12):
        rng = np.random.default_rng(number)
        count = 60 if number % 6 == 5 else 110 + 25 * number
        notes = np.zeros((count, 5), np.int32)
        notes[:, 0] = 12 * np.arange(count)
        notes[:, 1] = 12
        notes[:, 2] = 60 + np.cumsum(rng.choice([-2, 0, 1], count)) % 12
        notes[:, 3] = 70
        (folder / f"{number:02d}.mid").write_bytes(write_midi(Song(notes)))
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def contest(folder, out):
    return prepare(folder, "t", out=out)


@pytest.fixture(scope="module")
def whole(folder, out, contest, tmp_path_factory):
    """The result of a long run that nothing interrupted."""
    results = tmp_path_factory.mktemp("results")
    path = carry_out(Run("default", "t", folder, overrides=TINY), results, out, quiet=True)
    return json.loads(path.read_text())


def test_both_forms_of_windows_score_the_same_events(contest):
    places = {
        form: [place for window in windows(contest.common(form)) for place in scored_places(window)]
        for form in ("last", "every")
    }
    assert places["last"]
    assert Counter(places["last"]) == Counter(places["every"])
    assert set(Counter(places["last"]).values()) == {1}
    assert len(places["last"]) == contest.facts["events"]
    # Every event with a window before it, and of the default's own windows not all.
    longest = {
        song: 1 + max(at for s, at in places["last"] if s == song) for song, _ in places["last"]
    }
    assert sum(end - LENGTH for end in longest.values()) == contest.facts["events"]
    assert contest.facts["all_events"] > contest.facts["events"]


def test_an_event_has_the_same_context_in_both_forms(contest):
    seen = {}
    for form in ("last", "every"):
        for window in windows(contest.common(form)):
            for song, place in scored_places(window):
                at = place - window["offset"]
                assert at >= LENGTH
                heard = window["events"][at - LENGTH : at + 1].tobytes()
                assert seen.setdefault((song, place), heard) == heard


def test_the_ngram_of_the_windows_is_that_of_the_table(contest):
    for form in ("last", "every"):
        rows = list(windows(contest.common(form)))
        nats = np.average([r["ngram_nll"] for r in rows], weights=[r["scored"] for r in rows])
        assert nats == pytest.approx(contest.facts["ngram"]["5"]["common"], rel=1e-5)
    # Bach's chorales are in many keys: it pays to have counted them in all.
    assert contest.ngram_transposed[1] != contest.ngram[1]
    order, best = contest.ngram
    assert best == min(row["common"] for row in contest.facts["ngram"].values())
    assert contest.facts["ngram"][str(order)]["common"] == best


def test_a_contest_is_made_once_and_anew_for_other_songs(folder, out, contest):
    before = (contest.folder / "facts.json").stat().st_mtime_ns
    assert prepare(folder, "t", out=out).folder == contest.folder
    assert (contest.folder / "facts.json").stat().st_mtime_ns == before


def test_a_result_tells_what_the_served_model_reaches_on_the_common_events(whole, contest):
    history = whole["history"]
    assert whole["nats"] == min(epoch["nats"] for epoch in history["epochs"])
    assert whole["served_nats"] == pytest.approx(whole["nats"], rel=1e-4)
    assert history["ngram_nats"] == pytest.approx(contest.facts["ngram"]["5"]["common"], rel=1e-5)
    assert math.isfinite(whole["all_nats"])
    assert whole["all_nats"] != pytest.approx(whole["nats"], rel=1e-6)
    assert [line["epoch"] for line in whole["clock"]] == [1, 2, 3]
    assert all(line["wall"] > 0 and line["cpu"] > 0 for line in whole["clock"])
    assert whole["starts"] == 1


def test_an_interrupted_run_goes_on_and_ends_as_one_that_was_not(
    whole, folder, out, tmp_path, monkeypatch
):
    run = Run("default", "t", folder, overrides=TINY)
    write, told = Clock._write, []

    def note(self, line):
        write(self, line)
        told.append(line.get("epoch", "start"))
        if told == ["start", 1, 2]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Clock, "_write", note)
    with pytest.raises(KeyboardInterrupt):
        carry_out(run, tmp_path, out, quiet=True)
    assert read(tmp_path) == []
    path = carry_out(run, tmp_path, out, quiet=True)
    resumed = json.loads(path.read_text())
    assert resumed["starts"] == 2
    # Told of the second epoch, it had not yet kept it: only that one ran again.
    assert told == ["start", 1, 2, "start", 2, 3]
    nats = [epoch["nats"] for epoch in resumed["history"]["epochs"]]
    assert nats == [epoch["nats"] for epoch in whole["history"]["epochs"]]
    # What was kept to go on with is gone.
    assert sum("going-" in path.name for path in out.iterdir()) == 0
    assert resumed["command"] == whole["command"]


def test_a_command_makes_its_run_again(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(_long, "carry_out", lambda run, *_: asked.append(run) or tmp_path)
    for run in (
        Run("paper", "a"),
        Run("default", "b", Path("songs"), 11, 2.5, ("model.units=[8, 8, 8]", "training.epochs=3")),
    ):
        words = shlex.split(run.command)
        assert words[:3] == ["python", "-m", "benchmarks.training"]
        assert main(words[3:]) == 0
        assert asked.pop() == run


def test_what_would_not_be_fair_is_refused_in_one_line(folder, capsys):
    with pytest.raises(SegueError, match="'bigram' does not exist; choose paper, default, ngram"):
        Run("bigram", "a")
    arguments = ["--long", "--data", str(folder), "--set", "vocabulary.min_count=3", "--salt", "t"]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "the contest is over chords, min_count 10" in error
    assert len(error.splitlines()) == 1


def test_other_songs_splits_and_settings_are_trials_and_stand_nowhere_near_the_results(folder):
    assert not Run("paper", "a").is_trial
    assert Run("ngram", "a", folder).is_trial
    assert Run("default", "zzz").is_trial
    assert Run("default", "a", overrides=("training.epochs=3",)).is_trial
    assert "--data" in Run("ngram", "a", folder).command
    for salt in ("../../x", "", "A b"):
        with pytest.raises(SegueError, match="must be letters and digits"):
            Run("ngram", salt)
    with pytest.raises(SegueError, match="neither a seed nor settings"):
        Run("ngram", "a", seed=5)


def test_a_run_that_is_made_is_read_and_one_under_way_is_left_alone(folder, out, tmp_path):
    from pipeline.lock import exclusive

    run = Run("default", "t", folder, overrides=(*TINY, "training.epochs=1"))
    path = carry_out(run, tmp_path, out, quiet=True)
    assert path.parent == tmp_path
    made = path.stat().st_mtime_ns
    assert carry_out(run, tmp_path, out, quiet=True).stat().st_mtime_ns == made
    (key,) = path.stem.split("-")[-1:]
    path.unlink()
    with exclusive(out / f"going-default-t-{key}"), pytest.raises(SegueError, match="another run"):
        carry_out(run, tmp_path, out, quiet=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--table", "--salt", "b"], "--salt goes with --long"),
        (["--epoch-seconds", "--data", "songs"], "--data goes with --long"),
        (["--table", "--results", "nowhere"], "--results nowhere is no folder"),
        (["--long", "--contestant", "bigram"], "invalid choice: 'bigram'"),
    ],
)
def test_switches_that_mean_nothing_are_refused(arguments, words, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert words in capsys.readouterr().err


def test_songs_that_make_no_contest_are_one_line(folder, out, tmp_path, capsys):
    alone = tmp_path / "alone"
    alone.mkdir()
    first = sorted(folder.iterdir())[0]
    (alone / first.name).write_bytes(first.read_bytes())
    with pytest.raises(
        SegueError, match="holds one song to learn from and none to judge by"
    ) as one:
        carry_out(Run("ngram", "a", alone), tmp_path, out)
    assert len(str(one.value).splitlines()) == 1
    assert main(["--docs", str(tmp_path / "no.md")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


# ---- what results say ------------------------------------------------------


def result(contestant, nats, seconds, salt="x", events=100):
    epochs = [
        {"loss": 1.0, "nats": value, "seconds": seconds, "learning_rate": 0.1} for value in nats
    ]
    return {
        "contestant": contestant,
        "salt": salt,
        "seed": 7,
        "history": {"epochs": epochs},
        "contest": {"digest": "d", "events": events, "classes": 5},
        "nats": min(nats),
        "order": 3,
    }


RESULTS = [
    result("paper", [3.0, 2.5, 2.6], 100.0),
    result("default", [2.8, 2.5, 2.2, 2.3], 4.0),
    result("ngram", [2.75], 1.0),
]


def test_time_to_reach_is_epochs_times_seconds_an_epoch():
    (one,) = comparisons(RESULTS)
    assert (one.paper_seconds, one.default_seconds, one.sooner) == (200.0, 8.0, 25.0)
    assert one.under_ngram == pytest.approx(1 - 2.2 / 2.75)
    (quiet,) = comparisons(RESULTS, {"x": {"paper": 50.0, "default": 5.0}})
    assert quiet.sooner == 10.0


def test_a_value_that_is_not_reached_is_said_to_be_missed():
    worse = result("default", [2.9, 2.51], 4.0)
    (one,) = comparisons([RESULTS[0], worse, RESULTS[2]])
    assert one.default_seconds is None
    assert one.sooner == 0.0


def test_an_epoch_that_was_disturbed_does_not_count():
    value = result("paper", [3.0, 2.5, 2.6, 2.7], 10.0)
    for at, seconds in enumerate((99.0, 10.0, 500.0, 10.0)):
        value["history"]["epochs"][at]["seconds"] = seconds
    assert curve(value).seconds == 10.0


def test_results_on_other_events_are_not_held_against_each_other():
    other = result("default", [2.2], 4.0, events=101)
    with pytest.raises(ValueError, match="not of the same held-out events"):
        comparisons([RESULTS[0], other, RESULTS[2]])


def test_the_same_results_draw_the_same_picture(tmp_path):
    plot(tmp_path / "one.svg", RESULTS)
    plot(tmp_path / "two.svg", RESULTS)
    drawn = (tmp_path / "one.svg").read_bytes()
    assert drawn == (tmp_path / "two.svg").read_bytes()
    assert b"n-gram" in drawn
    plot(tmp_path / "other.svg", [*RESULTS[:1], result("default", [2.8, 2.1], 4.0), RESULTS[2]])
    assert (tmp_path / "other.svg").read_bytes() != drawn


def test_kept_results_are_of_the_same_events_and_their_commands_make_them_again():
    kept = read()
    assert kept
    comparisons(kept)
    for value in kept:
        words = shlex.split(value["command"])
        assert words[words.index("--contestant") + 1] == value["contestant"]
        assert "--minutes" not in words
        assert "--set" not in words
        if value["contestant"] != "ngram":
            assert value["served_nats"] == pytest.approx(value["nats"], rel=1e-3)


def test_the_documents_show_what_the_kept_results_say(tmp_path):
    document = Path(__file__).parents[2] / "docs" / "results.md"
    copy = tmp_path / "results.md"
    copy.write_text(document.read_text())
    put_into(copy, markdown(read(), quiet_seconds(_long.RESULTS)))
    assert copy.read_text() == document.read_text(), (
        "run python -m benchmarks.training --docs docs/results.md"
    )


def test_the_table_of_the_documents_has_dashes_for_what_was_not_run():
    songs = {"songs": {"train": 9, "eval": 3}}
    ngram = RESULTS[2] | {"contest": RESULTS[2]["contest"] | songs}
    ngram |= {"nats_transposed": 2.5, "order_transposed": 4}
    whole = markdown([*RESULTS[:2], ngram])
    assert (
        "| x | 3 songs, 100 tokens | 2.750, order 3 | 2.500, order 4 | 2.500, epoch 2 of 3 |"
        in whole
    )
    assert "| 2.200, epoch 3 | 20.0%, 12.0% | 200 s | 8 s, epoch 2 | 25.0 x |" in whole
    assert markdown([ngram]).splitlines()[-1].endswith("order 4" + " | –" * 7 + " |")
    half = markdown([RESULTS[1], ngram]).splitlines()[-1]
    assert half.endswith("| – | – | 2.200, epoch 3 | 20.0%, 12.0% | – | – | – |")


def test_a_curve_says_where_early_stopping_would_have_ended():
    (one,) = [curve(result("paper", [3.0, 2.5, 2.6, 2.6, 2.4, 2.7], 1.0))]
    assert one.best == 2.4
    assert [one.until(patience) for patience in (1, 2, 3, 10)] == [2.5, 2.5, 2.4, 2.4]


def test_the_patience_of_the_table_is_the_presets(tmp_path):
    from benchmarks._curves import PATIENCE
    from pipeline.configuration import load_configuration

    assert load_configuration(tmp_path, tmp_path, "paper").training.patience == PATIENCE


def test_the_table_has_a_line_for_every_claim(tmp_path, capsys):
    for value in RESULTS:
        _long.write(value, tmp_path)
    rows = {row["what"]: row["value"] for row in table(tmp_path)}
    assert rows["split x, seed 7: sooner"] == 25.0
    assert rows["least of all: under the n-gram"] == pytest.approx(20.0)
    capsys.readouterr()
