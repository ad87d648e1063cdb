"""One catalogue, one split, one set of held-out events for every contestant.

A contest is fair when all are judged on the same events. The paper's windows score
an event only when it has L before it; the default's score every event but a song's
first. So the events of a contest are those with L before them, and the default's
held-out windows are written anew with `scored` lowered to them: what its training
tells, epoch by epoch, is then its nats on the very events that the paper's and the
n-gram's are taken on. Tokens, too, are the same: the paper's vocabulary (rare ones
dropped, none snapped) serves all.

The pipeline's own executors read the folder, split it by song, count the vocabulary
and cut both forms of windows, in a process of its own (`python -m
benchmarks._contest JSON`), since TFX takes long to import. What they made is kept
under `out/` by its content: the songs, the salt, the settings and the code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from music.codec import build_codec
from music.errors import SegueError
from music.folder import midi_files
from music.vocabulary import Vocabulary
from pipeline.lock import exclusive

OUT = Path("out") / "benchmarks" / "training"
REICHARDT = (
    Path(__file__).parents[1].parent / "shared/data/openscore-lieder/Reichardt_Louise"
)  # fmt: skip
ORDERS = tuple(range(2, 9))
FORMS = ("last", "every")
# Semitones by which the default moves its crops (presets/reichardt-default.yaml).
REACH = 6
# Exit status of the process that makes a contest: its last line is for the user.
_REFUSED = 3


@dataclasses.dataclass(frozen=True)
class Contest:
    """A prepared split.

    Attributes:
      folder: of what the steps made.
      facts: `data` (the folder's name), `songs` (train, eval), `digest` of the files,
        `salt`, `classes` of the vocabulary, `events` (the common ones), `all_events`,
        and `ngram` and `ngram_transposed`: for each order, nats an event on the `common`
        events and on `all`.
    """

    folder: Path
    facts: dict[str, Any]

    @property
    def vocabulary(self) -> Vocabulary:
        """The one of all contestants."""
        text = (self.folder / "vocabulary" / "vocabulary.json").read_text()
        return Vocabulary.from_json(text)

    def train(self, form: str) -> list[str]:
        """Patterns of the windows to learn from, of form `last` or `every`."""
        return [str(self.folder / form / "examples" / "Split-train" / "*.gz")]

    def held_out(self, form: str) -> list[str]:
        """Patterns of the held-out windows as the pipeline made them."""
        return [str(self.folder / form / "examples" / "Split-eval" / "*.gz")]

    def common(self, form: str) -> list[str]:
        """Patterns of held-out windows that score the common events and no others."""
        if form == "last":
            return self.held_out(form)
        return [str(self.folder / form / "common" / "*.gz")]

    @property
    def ngram(self) -> tuple[int, float]:
        """The order that does best on the common events, and its nats."""
        return _best(self.facts["ngram"])

    @property
    def ngram_transposed(self) -> tuple[int, float]:
        """The same of the n-gram that has seen every song in every key, as the default has."""
        return _best(self.facts["ngram_transposed"])


def _best(orders: dict[str, Any]) -> tuple[int, float]:
    best = min(orders, key=lambda order: orders[order]["common"])
    return int(best), orders[best]["common"]


def prepare(
    data: Path, salt: str, length: int = 75, min_count: int = 10, out: Path = OUT
) -> Contest:
    """The contest on a folder of MIDI files, made unless it is there already.

    Args:
      data: the folder.
      salt: of the split.
      length: L, of both forms of windows.
      min_count: tokens seen less often in the training split are dropped.
      out: where contests are kept.

    Raises:
      SegueError: the songs make no contest, or another process is making it.
      RuntimeError: a step failed; its last lines.
    """
    from pipeline.configuration import code_fingerprint

    digest = hashlib.sha256()
    for path in sorted(midi_files(data)):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    content = digest.hexdigest()
    settings = [content, salt, length, min_count, code_fingerprint(), _own_code()]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    folder = (out / f"split-{salt}-{key}").absolute()
    if not (folder / "facts.json").exists():
        with exclusive(folder):
            _make_apart(folder, data, salt, length, min_count, content)
    return Contest(folder, json.loads((folder / "facts.json").read_text()))


def _make_apart(
    folder: Path, data: Path, salt: str, length: int, min_count: int, digest: str
) -> None:
    """Runs the steps in a process of its own."""
    request = {
        "data": str(data.absolute()),
        "folder": str(folder),
        "salt": salt,
        "length": length,
        "min_count": min_count,
        "digest": digest,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._contest", json.dumps(request)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == _REFUSED:
        raise SegueError(done.stderr.splitlines()[-1])
    if done.returncode:
        raise RuntimeError(f"the contest could not be prepared:\n{done.stderr[-3000:]}")


def _own_code() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


# ---- in the process of its own ---------------------------------------------


def _make(data: str, folder: str, salt: str, length: int, min_count: int, digest: str) -> None:
    """Runs the steps; `facts.json` comes last and says that all is there."""
    from benchmarks._stages import run

    top = Path(folder)
    top.mkdir(parents=True, exist_ok=True)
    beam: list[str] = []
    store = str(top / "store")
    run("parse", folder, {
        "data": data, "store": store, "eval_share": 0.1, "salt": salt, "shards": 2
    }, beam)  # fmt: skip
    run("vocabulary", folder, {
        "codec": '{"name": "chords"}', "min_count": min_count, "max_size": 1024, "closed": 1,
        "start": "", "serving_dir": ""
    }, beam)  # fmt: skip
    for form in FORMS:
        target = top / form
        target.mkdir(exist_ok=True)
        for name in ("songs", "vocabulary"):
            with contextlib.suppress(FileExistsError):
                (target / name).symlink_to(top / name)
        run("windows", str(target), {"length": length, "form": form, "ngram_order": 5}, beam)
    contest = Contest(top, {})
    nats = {
        place: row["ngram_nll"]
        for row in windows(contest.held_out("last"))
        for place in scored_places(row)
    }
    every = _common_windows(contest, length, nats)
    if every != set(nats):
        raise RuntimeError("the two forms of windows do not score the same events")
    songs = {side: _songs(top, side) for side in ("train", "eval")}
    facts = {
        "data": Path(data).name,
        "digest": digest,
        "salt": salt,
        "songs": {side: len(events) for side, events in songs.items()},
        "classes": contest.vocabulary.sizes[0],
        "events": len(nats),
        "all_events": sum(len(events) - 1 for events in songs["eval"]),
        "ngram": _ngram(contest.vocabulary, songs, length),
        "ngram_transposed": _ngram(contest.vocabulary, songs, length, REACH),
    }
    partial = top / "facts.json.partial"
    partial.write_text(json.dumps(facts, indent=1) + "\n")
    os.replace(partial, top / "facts.json")


def windows(patterns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Held-out windows as they lie in their files.

    Yields:
      `song`, `offset`, `scored`, `ngram_nll`, and `events` int32[T, 1].
    """
    import numpy as np
    import tensorflow as tf

    names = sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))
    for record in tf.data.TFRecordDataset(names, compression_type="GZIP"):
        feature = tf.train.Example.FromString(record.numpy()).features.feature
        yield {
            "song": feature["song"].bytes_list.value[0].decode(),
            "offset": feature["offset"].int64_list.value[0],
            "scored": feature["scored"].int64_list.value[0],
            "ngram_nll": feature["ngram_nll"].float_list.value[0],
            "events": np.array(feature["token"].int64_list.value, np.int32)[:, None],
        }


def scored_places(window: dict[str, Any]) -> list[tuple[str, int]]:
    """(song, index in it) of the events that a window scores, in order."""
    end = window["offset"] + len(window["events"])
    return [(window["song"], place) for place in range(end - window["scored"], end)]


def _common_windows(
    contest: Contest, length: int, nats: dict[tuple[str, int], float]
) -> set[tuple[str, int]]:
    """Writes the windows of form `every` that score events with `length` before them.

    Args:
      contest: where the pipeline's windows lie.
      length: L.
      nats: the n-gram's of each such event.

    Returns:
      The events that they score.
    """
    import numpy as np
    import tensorflow as tf

    from components.window_generator.stages import to_example
    from music.windows import Window

    target = contest.folder / "every" / "common"
    target.mkdir(exist_ok=True)
    found: set[tuple[str, int]] = set()
    with tf.io.TFRecordWriter(str(target / "windows.gz"), "GZIP") as writer:
        for row in windows(contest.held_out("every")):
            places = [place for place in scored_places(row) if place[1] >= length]
            if not places:
                continue
            found.update(places)
            window = Window(row["events"], row["offset"], len(places))
            mean = float(np.mean([nats[place] for place in places]))
            writer.write(to_example(window, row["song"], ["token"], mean).SerializeToString())
    return found


def _songs(folder: Path, side: str) -> list[Any]:
    """The songs of a split as the model meets them: int32[T, 1] each."""
    from components.stages import read_songs, song_shards
    from components.window_generator.stages import encode

    vocabulary = Contest(folder, {}).vocabulary
    return [
        encode(song, vocabulary)[0]
        for path in song_shards(str(folder / "songs"), side)
        for songs in read_songs(path)
        for song in songs
    ]


def _ngram(
    vocabulary: Vocabulary, songs: dict[str, list[Any]], length: int, reach: int = 0
) -> dict[str, Any]:
    """The n-gram by order, on the common events and on every event but a song's first.

    Args:
      vocabulary: of the contest.
      songs: by side, int32[T, 1] each.
      length: L.
      reach: semitones up and down by which each training song is counted as well; a
        chord that the vocabulary does not keep there is left out.
    """
    import numpy as np

    from components.window_generator.stages import alphabets
    from music.ngram import NGramCounts

    codec, result = build_codec(dict(vocabulary.codec)), {}
    for order in ORDERS:
        counts = NGramCounts(order)
        for events in songs["train"]:
            for semitones in range(-reach, reach + 1):
                counts.add(vocabulary.admit(codec.transpose(events, semitones)))
        nlls = counts.model(alphabets(vocabulary)).nlls(songs["eval"])
        result[str(order)] = {
            "common": float(np.concatenate([nll[length:] for nll in nlls]).mean()),
            "all": float(np.concatenate([nll[1:] for nll in nlls]).mean()),
        }
    return result


def main() -> None:
    """Makes what the JSON on the command line asks for."""
    request = json.loads(sys.argv[1])
    sys.argv[1:] = []  # TFX takes a program's arguments for its own flags
    try:
        _make(**request)
    except SegueError as error:
        print(error, file=sys.stderr)
        sys.exit(_REFUSED)


if __name__ == "__main__":
    main()
