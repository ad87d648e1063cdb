"""The Beam stages of ReferenceBuilder.

Workers import this module and not the executor's, which brings TFX and TensorFlow.
The index is made by one worker, as it is one structure over all songs; measuring each
song by it is everybody's work.
"""

from __future__ import annotations

import json

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from components.files import INDEX_FILE, MEASURES_FILE, REFERENCE_FILE
from components.stages import ReadSongs, put_in_place
from music.measures import Heard, Measures, Reference, SongIndex, as_heard, measure
from music.song import Song
from music.split import TRAIN
from music.vocabulary import Vocabulary


def write_index(heard: list[Heard], uri: str) -> str:
    """Writes the index of all songs; its path."""
    path = FileSystems.join(uri, INDEX_FILE)
    partial = f"{path}.partial"
    with FileSystems.create(partial) as file:
        SongIndex.of(sorted(heard, key=lambda one: one.song.id)).save(file)
    put_in_place(partial, path)
    return path


class MeasureSong(beam.DoFn):
    """Song -> Measures, against all other songs of the index.

    Args:
      vocabulary: the model's.
    """

    def __init__(self, vocabulary: Vocabulary):
        super().__init__()
        self.vocabulary = vocabulary
        self._index: SongIndex | None = None

    def process(self, song: Song, index_path: str):
        if self._index is None:  # once a worker: it may be some hundred megabytes
            with FileSystems.open(index_path) as file:
                self._index = SongIndex.load(file)
        yield measure(as_heard(song, self.vocabulary).song, self._index, leave_out=True)


def write_measures(found: list[Measures], uri: str) -> None:
    """Writes each song's measures, and what all say together.

    Raises:
      ValueError: no song has a note.
    """
    found = sorted(found, key=lambda one: one.id)
    lines = [json.dumps(one.as_dict(), sort_keys=True, allow_nan=False) + "\n" for one in found]
    for name, text in (
        (MEASURES_FILE, "".join(lines)),
        (REFERENCE_FILE, Reference.of(found).to_json()),
    ):
        path = FileSystems.join(uri, name)
        with FileSystems.create(f"{path}.partial") as file:
            file.write(text.encode())
        put_in_place(f"{path}.partial", path)


class BuildReference(beam.PTransform):
    """Reads a Songs artifact and leaves the three files of a MusicReference.

    Args:
      songs: uri of the Songs.
      uri: of the MusicReference.
      vocabulary: the model's.
    """

    def __init__(self, songs: str, uri: str, vocabulary: Vocabulary):
        super().__init__()
        self.songs = songs
        self.uri = uri
        self.vocabulary = vocabulary

    def expand(self, pipeline):
        songs = pipeline | "Songs" >> ReadSongs(self.songs, TRAIN)
        index = (
            songs
            | "Hear" >> beam.Map(as_heard, self.vocabulary)
            | "All" >> beam.combiners.ToList()
            | "Index" >> beam.Map(write_index, self.uri)
        )
        return (
            songs
            | "Measure" >> beam.ParDo(MeasureSong(self.vocabulary), beam.pvalue.AsSingleton(index))
            | "Gather" >> beam.combiners.ToList()
            | "Write" >> beam.Map(write_measures, self.uri)
        )
