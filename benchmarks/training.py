"""Training: the paper's recipe, the default and the n-gram on the same held-out events."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

from benchmarks._contest import OUT, REICHARDT
from music.errors import SegueError


def main(arguments: list[str]) -> int:
    """The long forms: see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--long", action="store_true", help="one contestant, to the end")
    parser.add_argument("--data", type=Path, default=REICHARDT, help="folder of MIDI files")
    parser.add_argument("--salt", default="a", help="of the split")
    parser.add_argument("--contestant", default="default", help="paper, default or ngram")
    parser.add_argument("--seed", type=int, help="of the training (the preset's)")
    parser.add_argument("--minutes", type=float, default=0.0, help="a trial, stopped after these")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a trial with this setting"
    )
    parser.add_argument(
        "--results", type=Path, help="folder (benchmarks/results; of trials, under out/)"
    )
    asked = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        if asked.long:
            from benchmarks._long import RESULTS, Run, carry_out

            run = Run(asked.contestant, asked.salt, asked.seed, asked.minutes, tuple(asked.set))
            # A trial's figures are not to stand where those of the presets stand.
            trial = asked.set or asked.minutes
            results = asked.results or (OUT / "trials" if trial else RESULTS)
            print(os.path.relpath(carry_out(run, asked.data, results)))
    except SegueError as error:
        print(f"benchmarks.training: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
