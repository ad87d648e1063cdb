"""The artifact types of our own.

TYPE_NAME is the importable `package.Class`, and there are no PROPERTIES: this is
the form that Kubeflow's compiler accepts. Facts go into custom properties.
"""

from __future__ import annotations

from tfx.types.artifact import Artifact


class Songs(Artifact):
    """`Split-<train|eval>/songs-0000i-of-0000N.parquet`: rows of `records.SONG_SCHEMA`.

    The split is decided here, once. A file's songs are in the order of their ids.
    """

    TYPE_NAME = "components.Songs"


class Verdicts(Artifact):
    """`verdicts-0000i-of-0000N.jsonl`, a line of JSON for every file; `summary.json`."""

    TYPE_NAME = "components.Verdicts"


class MusicVocabulary(Artifact):
    """`vocabulary.json`: what `music.vocabulary.Vocabulary.to_json` wrote."""

    TYPE_NAME = "components.MusicVocabulary"


class MusicReference(Artifact):
    """What new songs are measured against; files of `reference_builder.stages`.

    `reference.json`: `music.measures.Reference`, figures alone. `songs.jsonl`: the
    measures of every training song. `index.zip`: `music.measures.SongIndex`, from which
    the training songs can be read, so that it is never served.
    """

    TYPE_NAME = "components.MusicReference"


class MusicPanel(Artifact):
    """What a candidate played for the gate: `song-NN.mid`, and `panel.json` on each of them."""

    TYPE_NAME = "components.MusicPanel"
