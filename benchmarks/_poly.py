"""The polyphonic data sets of Boulanger-Lewandowski et al. 2012, as Segue's own windows.

A piece is a piano roll: bool[frames, 88], a frame a quarter (JSB Chorales) or an
eighth, a column a piano key from A0 on. Published likelihoods on these pieces, nats
a frame, are the yardstick of `benchmarks.likelihood`.

Segue writes a roll as the `notes` codec writes any song. A frame is spelled by its
pitches in ascending order, the first one stepping over to it, the others with a step
of 0; the next step above 0 is the frame's end mark, and silent frames are part of
the step that passes them. Every note lasts one frame. Nothing of the roll is lost:
`to_roll` is the inverse of `to_codes`.

`prepare` makes of a data set what a pipeline's run would: vocabulary, training
windows, and held-out windows with the n-gram's nats, of the same code as there, so
that `components.trainer.training.fit` runs on it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.window_generator.tfrecord import RecordWriter
from components.window_generator.wire import serialized_windows
from music.codec import BOUNDARY, MAX_TICKS, NotesCodec
from music.errors import SegueError
from music.ngram import NGramCounts, NGramModel
from music.song import DEFAULT_VELOCITY, Song
from music.vocabulary import Vocabulary, build_vocabulary
from music.windows import WindowSpec

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "poly-music"
FILES = {
    "JSB": "JSB_Chorales.mat",
    "Nottingham": "Nottingham.mat",
    "MuseData": "MuseData.mat",
    "Piano-midi": "Piano_midi.mat",
}
SPLITS = ("train", "valid", "test")
# MIDI pitch of a roll's first column.
LOWEST = 21
# Ticks of a frame. What a frame lasts makes no difference to a likelihood, but the
# codec holds a step to 1,536 ticks: at 6, that is more silence than any piece has.
FRAME = 6
MAX_FRAMES = MAX_TICKS // FRAME
# As in the default configuration.
NGRAM_ORDER = 7

Rolls = list[np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A data set as a training takes it.

    Attributes:
      name: of the data set.
      vocabulary: counted in the training split.
      window: how pieces were cut.
      train_files, eval_files: gzip TFRecords of windows; `eval` is the published
        validation split. Nothing of the test split is written.
      rolls: for each published split its pieces, bool[frames, keys].
      ngram: the product's baseline, of the training split.
    """

    name: str
    vocabulary: Vocabulary
    window: WindowSpec
    train_files: list[str]
    eval_files: list[str]
    rolls: dict[str, Rolls]
    ngram: NGramModel


def read_rolls(name: str, folder: Path = FOLDER) -> dict[str, Rolls]:
    """The published splits of a data set, bool[frames, 88] a piece.

    Raises:
      SegueError: there is no such data set, its file is missing, or holds another shape.
    """
    from scipy.io import loadmat

    if name not in FILES:
        raise SegueError(f"data set {name!r} does not exist; choose one of: {', '.join(FILES)}")
    path = folder / FILES[name]
    if not path.is_file():
        raise SegueError(f"{path} does not exist; put the data set's .mat file there")
    content = loadmat(path, variable_names=[f"{split}data" for split in SPLITS])
    rolls = {}
    for split in SPLITS:
        pieces = content[f"{split}data"].ravel()
        for piece in pieces:
            if piece.ndim != 2 or piece.shape[1] != 88:
                raise SegueError(f"{path}: a piece has shape {piece.shape}, not [frames, 88]")
        rolls[split] = [piece.astype(bool) for piece in pieces]
    return rolls


def to_song(roll: np.ndarray, title: str = "") -> Song:
    """A roll's notes, each of one frame; frames without any at its end are not in it."""
    frames, keys = np.nonzero(roll)
    notes = np.zeros((len(frames), 5), np.int32)
    notes[:, 0], notes[:, 1], notes[:, 2] = frames * FRAME, FRAME, keys + LOWEST
    notes[:, 3] = DEFAULT_VELOCITY
    return Song(notes, id=hashlib.sha256(title.encode()).hexdigest(), title=title)


def to_codes(roll: np.ndarray) -> np.ndarray:
    """A roll as codes of the `notes` codec, int32[T, 3].

    The closing boundary stands where the roll ends, which is later than its last
    note where the last frames are silent.

    Raises:
      SegueError: more silent frames in a row than a step can say.
    """
    codes = NotesCodec().encode(to_song(roll))
    if not len(codes):
        codes = np.array([[0, BOUNDARY, 0], [0, BOUNDARY, 0]], np.int32)
    sounding = np.flatnonzero(roll.any(axis=1))
    places = np.concatenate([[0], sounding, [len(roll)]])
    longest = int(np.diff(places).max())
    if longest > MAX_FRAMES:
        raise SegueError(f"{longest} silent frames in a row; a step says {MAX_FRAMES} at most")
    codes[-1, 0] = FRAME * (places[-1] - places[-2])
    return codes


def to_roll(codes: np.ndarray, keys: int = 88) -> np.ndarray:
    """The roll that codes spell, bool[frames, keys]; the inverse of `to_codes`."""
    frames = np.cumsum(codes[:, 0]) // FRAME
    sounding = codes[:, 1] != BOUNDARY
    roll = np.zeros((frames[-1], keys), bool)
    roll[frames[sounding], codes[sounding, 1] - LOWEST] = True
    return roll


def prepare(
    name: str,
    folder: Path,
    window: WindowSpec | None = None,
    min_count: int = 1,
    rolls: dict[str, Rolls] | None = None,
) -> Prepared:
    """Writes a data set's windows and counts its vocabulary and n-gram.

    Args:
      name: one of `FILES`.
      folder: where `Split-train/windows.gz` and `Split-eval/windows.gz` go.
      window: how pieces are cut; None is the default preset's form.
      min_count: how often a step or a duration must be seen to be kept.
      rolls: the pieces, where they are not the published ones.

    Raises:
      SegueError: as `read_rolls` and `to_codes`.
    """
    window = window or WindowSpec()
    rolls = rolls or read_rolls(name)
    codes = {split: [to_codes(roll) for roll in rolls[split]] for split in SPLITS}
    codec = NotesCodec()
    together = np.concatenate(codes["train"])
    counts = [Counter(together[:, column].tolist()) for column in range(len(codec.fields))]
    vocabulary = build_vocabulary(codec, counts, min_count)
    gathered = NGramCounts(NGRAM_ORDER)
    for events in codes["train"]:
        gathered.add(events)
    ngram = gathered.model([field.size for field in codec.fields])
    names = [field.name for field in codec.fields]
    files = {}
    for split, side in (("train", "train"), ("valid", "eval")):
        nats: Sequence[np.ndarray | None] = [None] * len(codes[split])
        if side == "eval":
            nats = ngram.nlls(codes[split])
        path = folder / f"Split-{side}" / "windows.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file, RecordWriter(file) as writer:
            for place, (events, nll) in enumerate(zip(codes[split], nats, strict=True)):
                song = to_song(rolls[split][place], f"{name}/{split}/{place}").id
                for _, record in serialized_windows(events, window, song, names, nll):
                    writer.write(record)
        files[side] = [str(path)]
    return Prepared(name, vocabulary, window, files["train"], files["eval"], rolls, ngram)
