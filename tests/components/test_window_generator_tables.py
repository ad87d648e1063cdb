"""The n-gram's files: runs, their stretches, the parts that they add up to."""

import os
from pathlib import Path

import numpy as np
import pytest
from apache_beam.io.localfilesystem import LocalFileSystem

from components.window_generator import tables
from music.ngram import NGramCounts, NGramModel

ORDER, ALPHABETS = 4, (30, 20, 10)


def song(seed, count=300):
    return np.random.default_rng(seed).integers(0, [6, 5, 4], (count, 3)).astype(np.int32)


def counted(*seeds):
    counts = NGramCounts(ORDER)
    for seed in seeds:
        counts.add(song(seed))
    return counts.table()


def fit(folder, pieces, parts):
    """The paths of the parts of what was counted in pieces."""
    stretches = [[] for _ in range(parts)]
    for number, piece in enumerate(pieces):
        found = list(tables.write_run(folder, f"run-{number}", piece, parts))
        assert len(found) == parts
        for part, stretch in enumerate(found):
            stretches[part].append(stretch)
    return [
        tables.write_part(folder, part, parts, tables.add_up(stretches[part]))
        for part in range(parts)
    ]


@pytest.mark.parametrize("parts", [1, 3])
def test_runs_add_up_to_the_counts_of_everything(tmp_path, parts):
    folder = str(tmp_path / "ngram")
    paths = fit(folder, [counted(1, 2), counted(3), counted(), counted(1)], parts)
    opened = tables.open_parts(paths[::-1], str(tmp_path))
    assert all(isinstance(part, np.memmap) for part in opened)
    model = NGramModel(ORDER, opened, ALPHABETS)
    whole = NGramModel(ORDER, [counted(1, 1, 2, 3)], ALPHABETS)
    assert np.array_equal(model.nll(song(4)), whole.nll(song(4)))


def test_the_order_of_the_runs_plays_no_role(tmp_path):
    pieces = [counted(1, 2), counted(3), counted(4)]
    one = fit(str(tmp_path / "one"), pieces, 2)
    other = fit(str(tmp_path / "other"), pieces[::-1], 2)
    assert [Path(path).read_bytes() for path in one] == [Path(path).read_bytes() for path in other]


def test_nothing_but_the_parts_is_left(tmp_path):
    folder = str(tmp_path / "ngram")
    fit(folder, [counted(1), counted(2)], 2)
    assert "runs" in os.listdir(folder)
    tables.remove_runs(folder)
    assert sorted(os.listdir(folder)) == ["ngram-00000-of-00002.npy", "ngram-00001-of-00002.npy"]
    tables.remove_runs(folder)  # again, as a step that is tried twice does


class _Elsewhere(LocalFileSystem):
    """Files that only Beam can open: `elsewhere://` before the path."""

    @classmethod
    def scheme(cls):
        return "elsewhere"

    def open(self, path, *args, **kwargs):
        return super().open(path.removeprefix("elsewhere://"), *args, **kwargs)


def test_a_part_that_lies_elsewhere_is_copied(tmp_path):
    (path,) = fit(str(tmp_path / "ngram"), [counted(1)], 1)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (opened,) = tables.open_parts([f"elsewhere://{path}"], str(scratch))
    assert isinstance(opened, np.memmap)
    assert np.array_equal(opened, counted(1))
    assert os.listdir(scratch) == [os.path.basename(path)]
