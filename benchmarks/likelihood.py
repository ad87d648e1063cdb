"""Likelihood: nats a frame on the published test splits, against what was published.

The pieces are spelled as `benchmarks._poly` says and paid for as `benchmarks._frames`
says. Quick form (`python -m benchmarks likelihood`): the baselines, the product's
n-gram, and a training of a small network for some epochs, which shows that all of it
works and is no figure of the model's. Long form:

    python -m benchmarks.likelihood --long --data JSB --seeds 1 2 3
    python -m benchmarks.likelihood --long --data JSB --set training.transpose=6   a trial
    python -m benchmarks.likelihood                        the table of what is kept

Published figures: RNN-RBM and RNN-NADE, Boulanger-Lewandowski, Bengio and Vincent 2012
(Modeling temporal dependencies in high-dimensional sequences, ICML, table 1); LSTM, GRU
and TCN, Bai, Kolter and Koltun 2018 (An empirical evaluation of generic convolutional
and recurrent networks for sequence modeling, table 1). The Markov chain and the bigram
are computed here, on the same splits by the same measure.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from benchmarks._frames import ChordBigram, MarkovChain, NGramRolls
from benchmarks._poly import FILES, FOLDER, prepare, read_rolls
from benchmarks._poly_long import PRESETS, RESULTS, Run, averages, carry_out, kept, train
from benchmarks.ingest import row
from music.errors import SegueError

_BAI, _BOULANGER = "Bai et al. 2018", "Boulanger-Lewandowski et al. 2012"
SOURCES = {
    "LSTM": _BAI, "GRU": _BAI, "TCN": _BAI, "RNN-RBM": _BOULANGER, "RNN-NADE": _BOULANGER
}  # fmt: skip
# Nats a frame on the test split.
PUBLISHED = {
    "JSB": {"LSTM": 8.45, "GRU": 8.43, "TCN": 8.10, "RNN-RBM": 6.27, "RNN-NADE": 5.56},
    "Nottingham": {"LSTM": 3.29, "GRU": 3.46, "TCN": 3.07, "RNN-RBM": 2.39, "RNN-NADE": 2.31},
}
# Of the quick form: a tenth of the default's parameters, a few epochs.
SHORT = (
    "model.units=[64,96,64]",
    "model.dense=64",
    "model.embedding=32",
    "model.dropout=0.1",
    "window.length=32",
    "training.batch_size=8",
    "training.epochs=6",
    "training.learning_rate=0.004",
    "training.transpose=0",
)


def measure() -> list[dict[str, Any]]:
    """Baselines on the test splits, and a short training on the chorales."""
    missing = [name for name in PUBLISHED if not (FOLDER / FILES[name]).is_file()]
    if missing:
        print(f"  nothing measured: {FOLDER / FILES[missing[0]]} is not there")
        return []
    rows = []
    for name, published in PUBLISHED.items():
        rolls = read_rolls(name)
        for what, value in published.items():
            rows.append(row(f"{name}: {what}", value, "nats", f"published, {SOURCES[what]}"))
        for model in (MarkovChain, ChordBigram):
            value = model(rolls["train"]).nats_a_frame(rolls["test"])
            rows.append(row(f"{name}: {_BASELINES[model]}", value, "nats", "computed"))
        with tempfile.TemporaryDirectory() as folder:
            ngram = NGramRolls(prepare(name, Path(folder), rolls=rolls).ngram)
        value = ngram.nats_a_frame(rolls["test"])
        rows.append(row(f"{name}: the n-gram of notes", value, "nats", "computed"))
    return [*rows, *_short()]


_BASELINES = {
    MarkovChain: "Markov chain of every key",
    ChordBigram: "bigram of whole frames, Witten-Bell",
}


def _short() -> list[dict[str, Any]]:
    from pipeline.configuration import load_configuration

    with tempfile.TemporaryDirectory() as folder:
        config = load_configuration(FOLDER, Path(folder), str(PRESETS["JSB"]), SHORT)
        told = train("JSB", config.trainer(), read_rolls("JSB"), Path(folder))
    note = f"{config.training.epochs} epochs, {told['history']['parameters']:,} parameters"
    return [
        row("JSB: a short training of a small network", told["test"]["nats"], "nats", note),
        row("JSB: the same, renormalised", told["test"]["renormalised"], "nats"),
        row("the short training", told["history"]["seconds"], "s"),
    ]


def table(data: str, folder: Path = FOLDER, results: Path = RESULTS) -> str:
    """What was published beside what is computed and what was trained here.

    Args:
      data: `JSB` or `Nottingham`.
      folder: of the data sets.
      results: of the long runs.
    """
    rolls = read_rolls(data, folder)
    lines = [
        (what, value, f"published, {SOURCES[what]}") for what, value in PUBLISHED[data].items()
    ]
    for model, what in _BASELINES.items():
        lines.append((what, model(rolls["train"]).nats_a_frame(rolls["test"]), "computed here"))
    values = kept(data, results)
    if values:
        means = averages(values)
        seeds = f"mean of {len(values)} seeds" if len(values) > 1 else f"seed {means['seeds'][0]}"
        for figure, what in (("nats", "Segue"), ("renormalised", "Segue, renormalised")):
            mean, least, most = means[f"test_{figure}"]
            valid = means[f"valid_{figure}"][0]
            note = f"{seeds}, {least:.3f} to {most:.3f}; validation split {valid:.3f}"
            lines.append((what, mean, note))
    lines.sort(key=lambda line: -line[1])
    wide = max(len(what) for what, _, _ in lines)
    told = [f"{data}, nats a frame on the test split"]
    told += [f"  {what:<{wide}}  {value:6.2f}  {note}" for what, value, note in lines]
    return "\n".join(told)


def main(arguments: list[str]) -> int:
    """The long form, and the table: see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.likelihood")
    parser.add_argument("--long", action="store_true", help="train, to the end")
    parser.add_argument("--data", choices=sorted(PRESETS), help="one data set (all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="one training each")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a trial with this setting"
    )
    asked = parser.parse_args(arguments)
    for name in ("seeds", "set"):
        if not asked.long and getattr(asked, name) != parser.get_default(name):
            parser.error(f"--{name} goes with --long")
    if any(setting.startswith("training.seed=") for setting in asked.set):
        parser.error("--seeds says which seeds; training.seed is not --set")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        for data in [asked.data] if asked.data else PRESETS:
            if asked.long:
                for seed in asked.seeds:
                    told = carry_out(Run(data, seed, tuple(asked.set)))
                    for split in ("valid", "test"):
                        if split in told:
                            figures = "{nats:.4f} nats a frame, {renormalised:.4f} renormalised"
                            print(f"{data}, seed {seed}, {split}: {figures.format(**told[split])}")
            if not asked.set:
                print(table(data))
    except SegueError as error:
        print(f"benchmarks.likelihood: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
