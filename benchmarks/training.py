"""Training: the paper's recipe, the default and the n-gram on the same held-out events.

`python -m benchmarks training` is the quick form, some minutes: a step against the
matmul peak and against Keras's own layers, seconds an epoch, a small contest on
songs that are always there, and the table of the long runs that are kept.

`python -m benchmarks.training` has the rest, one switch each:

    --long --contestant paper --salt a     a long run, kept in benchmarks/results/
    --epoch-seconds                        seconds an epoch of both, on a quiet machine
    --table                                what the kept runs say
    --plot docs/images/training.svg        the same as a picture
    --docs docs/results.md                 the same as the table of the documents
    --profile                              where the time of a step goes

"Time to reach" is the number of epochs, from a long run, times the seconds of an
epoch, from `--epoch-seconds`: a run of hours shares the machine with other work, and
only its epochs can be counted on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from benchmarks._contest import OUT, REICHARDT, prepare
from benchmarks.ingest import row
from music.errors import SegueError

Rows = list[dict[str, Any]]
# Networks that a minute is enough for; the rest is the presets'.
SMALL = ("model.units=[64,96,64]", "model.dense=64", "training.epochs=1000",
         "training.patience=1000", "training.schedule=constant")  # fmt: skip
SMALL_SONGS, SMALL_MINUTES = 24, 0.5
SECONDS_FILE = "epoch-seconds.json"


def measure() -> Rows:
    """Everything that takes no more than minutes."""
    rows = [_load(), *_rates(), *_small_contest()]
    if REICHARDT.is_dir():
        rows += [line for lines in _epochs(("a",)).values() for line in lines]
    return rows + table()


def _load() -> dict[str, Any]:
    return row("load of the machine before", os.getloadavg()[0], "", "0 is quiet")


# ---- a step ----------------------------------------------------------------


def _rates() -> Rows:
    from benchmarks._step import (
        chords_vocabulary,
        measure_rate,
        multiplier_for,
        notes_vocabulary,
        preset_settings,
        trained,
    )

    chords, notes = chords_vocabulary(), notes_vocabulary()
    cases: list[tuple[str, str, Any, int, int, bool]] = [
        ("default, chords", "default", chords, 16, 8, False),
        ("default, chords", "default", chords, 32, 5, False),
        ("default, notes", "default", notes, 16, 8, False),
        ("the same by keras.layers.LSTM, chords", "default", chords, 16, 5, True),
        ("paper's recipe", "paper", chords, 256, 2, False),
    ]
    rows = []
    for name, preset, vocabulary, batch, steps, keras_lstm in cases:
        settings = preset_settings(preset, f"training.batch_size={batch}")
        one = trained(settings, vocabulary, steps, keras_lstm)
        multiplier = multiplier_for(settings)
        rate = measure_rate(one, multiplier, calls=3 if steps > 2 else 2)
        what = f"{name}, batch {batch}, {multiplier.dtype}"
        gflops, peak = rate.flops.wall / 1e9, rate.peak.wall / 1e9
        note = f"{gflops:.0f} of {peak:.0f} GFLOP/s: {rate.share.wall:.0%} of peak"
        note += f" ({rate.share.cpu:.0%} by processor seconds)"
        rows.append(row(what, rate.targets, "targets/s", note))
        rows[-1] |= {"gflops": gflops, "peak": peak, "share": rate.share.wall}
        rows[-1] |= {"dtype": multiplier.dtype}
    return rows


def profile() -> Rows:
    """Where a step's time goes, piece by piece and operation by operation."""
    from benchmarks._step import (
        by_operation,
        chords_vocabulary,
        multiplier_for,
        parts,
        preset_settings,
        trained,
    )

    settings = preset_settings("default")
    one = trained(settings, chords_vocabulary(), 8)
    pieces = parts(one, multiplier_for(settings))
    whole = dict(pieces)["step"]
    rows = [_load()]
    for name, took in pieces:
        note = f"{took.wall / whole.wall:.0%}; {1e3 * took.cpu:.0f} ms of processors"
        rows.append(row(name, 1e3 * took.wall, "ms", f"{note}, {took.cpu / whole.cpu:.0%}"))
    with tempfile.TemporaryDirectory() as folder:
        for kind, share, count in by_operation(one, Path(folder))[:15]:
            rows.append(row(f"operation {kind}", 100 * share, "%", f"{count} a step"))
    return rows


# ---- seconds an epoch ------------------------------------------------------


def _epochs(salts: tuple[str, ...]) -> dict[str, Rows]:
    """Seconds of an epoch of each contestant, one after the other, by split."""
    from benchmarks._long import Run, settings_of
    from benchmarks._step import epoch_seconds

    found = {}
    for salt in salts:
        contest = prepare(REICHARDT, salt)
        rows = []
        for contestant, steps in (("paper", 2), ("default", 14)):
            settings = settings_of(Run(contestant, salt))
            learning, judging = epoch_seconds(contest, settings, steps)
            wall, cpu = learning.wall + judging.wall, learning.cpu + judging.cpu
            note = f"{judging.wall:.1f} s of it judging; {cpu:.1f} s of processors"
            rows.append(row(f"an epoch of split {salt}, {contestant}", wall, "s", note))
            rows[-1] |= {"contestant": contestant, "salt": salt}
        found[salt] = rows
    return found


def keep_epoch_seconds(results: Path) -> None:
    """Measures them on every split and keeps them beside the long runs' results."""
    from benchmarks._long import SALTS, machine

    load = os.getloadavg()[0]
    found = _epochs(SALTS)
    seconds = {
        salt: {line["contestant"]: round(line["value"], 3) for line in rows}
        for salt, rows in found.items()
    }
    value = {
        "command": "python -m benchmarks.training --epoch-seconds",
        "load_before": round(load, 2),
        "machine": machine(),
        "seconds": seconds,
    }
    (results / SECONDS_FILE).write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


# ---- the small contest -----------------------------------------------------


def _small_contest() -> Rows:
    """Both recipes at a reduced size, the same seconds each, on Bach's chorales."""
    from benchmarks._long import Run, carry_out
    from music.corpus import export

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export("bach", folder / "bach", limit=SMALL_SONGS, parts=4)
        contest = prepare(folder / "bach", "a", out=folder)
        order, ngram = contest.ngram
        what = f"{SMALL_SONGS} chorales, nats a token: "
        rows = [row(f"{what}n-gram", ngram, "nats", f"order {order}, the best of all")]
        for contestant in ("paper", "default"):
            run = Run(contestant, "a", folder / "bach", minutes=SMALL_MINUTES, overrides=SMALL)
            result = carry_out(run, folder / "results", folder, quiet=True)
            value = json.loads(result.read_text())
            epochs, seconds = value["history"]["epochs"], value["history"]["seconds"]
            note = f"reduced, {len(epochs)} epochs in {seconds:.0f} s"
            rows.append(row(f"{what}{contestant}", value["nats"], "nats", note))
    return rows


# ---- the long runs ---------------------------------------------------------


def table(results: Path | None = None) -> Rows:
    """What the kept long runs say, a split and a seed at a time."""
    from benchmarks._curves import comparisons
    from benchmarks._long import RESULTS, read

    folder = results or RESULTS
    compared = comparisons(read(folder), quiet_seconds(folder))
    if not compared:
        return [row("splits that all three contestants ran on", 0, "")]
    rows = []
    for one in compared:
        name = f"split {one.salt}, seed {one.default.seed}"
        ours, paper = one.default, one.paper
        epochs, best = ours.reach(paper.best), paper.reach(paper.best)
        rows += [
            row(f"{name}: n-gram", one.ngram, "nats", f"order {one.order}, the best of all"),
            row(
                f"{name}: paper's recipe", paper.best, "nats", f"epoch {best} of {len(paper.nats)}"
            ),
            row(f"{name}: default", ours.best, "nats", f"epoch {ours.reach(ours.best)}"),
            row(f"{name}: default under the n-gram", 100 * one.under_ngram, "%", "claimed: 10"),
            row(f"{name}: default under the paper's", 100 * (1 - ours.best / paper.best), "%"),
            row(f"{name}: the paper's to its best", one.paper_seconds, "s"),
            row(
                f"{name}: the default to that value",
                one.default_seconds if one.default_seconds is not None else -1.0,
                "s",
                f"epoch {epochs}" if epochs else "never",
            ),
            row(f"{name}: sooner", one.sooner, "x", "claimed: 20"),
        ]
    rows += [
        row("least of all: under the n-gram", 100 * min(c.under_ngram for c in compared), "%"),
        row("least of all: sooner", min(c.sooner for c in compared), "x"),
    ]
    return rows


def quiet_seconds(results: Path) -> dict[str, dict[str, float]]:
    """Seconds of an epoch by split and contestant, if they were measured and kept."""
    path = results / SECONDS_FILE
    return json.loads(path.read_text())["seconds"] if path.exists() else {}


def main(arguments: list[str]) -> int:
    """The forms that `make bench` does not run: see `--help`."""
    from benchmarks._long import CONTESTANTS

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--long", action="store_true", help="one contestant, to the end")
    what.add_argument("--epoch-seconds", action="store_true", help="measured and kept")
    what.add_argument("--table", action="store_true", help="of the kept runs")
    what.add_argument("--plot", type=Path, metavar="SVG", help="of the kept runs")
    what.add_argument("--docs", type=Path, metavar="FILE", help="puts the table into it")
    what.add_argument("--profile", action="store_true", help="of a step of the default")
    parser.add_argument("--data", type=Path, default=REICHARDT, help="folder of MIDI files")
    parser.add_argument("--salt", default="a", help="of the split")
    parser.add_argument("--contestant", default="default", choices=CONTESTANTS)
    parser.add_argument("--seed", type=int, help="of the training (the preset's)")
    parser.add_argument("--minutes", type=float, default=0.0, help="a trial, stopped after these")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a trial with this setting"
    )
    parser.add_argument(
        "--results", type=Path, help="folder (benchmarks/results; of trials, under out/)"
    )
    asked = parser.parse_args(arguments)
    if not asked.long:
        of_long = ("data", "salt", "contestant", "seed", "minutes", "set")
        given = [name for name in of_long if getattr(asked, name) != parser.get_default(name)]
        if given:
            parser.error(f"--{given[0]} goes with --long")
        if asked.results is not None and not asked.results.is_dir():
            parser.error(f"--results {asked.results} is no folder")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        _carry_out(asked)
    except (SegueError, ValueError, OSError) as error:
        print(f"benchmarks.training: {error}", file=sys.stderr)
        return 1
    return 0


def _carry_out(asked: argparse.Namespace) -> None:
    from benchmarks import _curves
    from benchmarks._long import RESULTS, Run, carry_out, read

    if asked.long:
        run = Run(
            asked.contestant, asked.salt, asked.data, asked.seed, asked.minutes, tuple(asked.set)
        )
        # A trial's figures are not to stand where those of the presets stand.
        results = asked.results or (OUT / "trials" if run.is_trial else RESULTS)
        print(os.path.relpath(carry_out(run, results)))
    elif asked.epoch_seconds:
        keep_epoch_seconds(asked.results or RESULTS)
    elif asked.table:
        table(asked.results)
    elif asked.plot:
        results = asked.results or RESULTS
        _curves.plot(asked.plot, read(results), quiet_seconds(results))
    elif asked.docs:
        results = asked.results or RESULTS
        _curves.put_into(asked.docs, _curves.markdown(read(results), quiet_seconds(results)))
    else:
        profile()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
