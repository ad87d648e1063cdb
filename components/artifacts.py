"""The artifact types of our own.

TYPE_NAME is the importable `package.Class`, and there are no PROPERTIES: this is
the form that Kubeflow's compiler accepts. Facts go into custom properties.
"""

from __future__ import annotations

from tfx.types.artifact import Artifact


class Songs(Artifact):
    """Parquet files of songs, the columns of `components.records.SONG_SCHEMA`."""

    TYPE_NAME = "components.Songs"


class Verdicts(Artifact):
    """`verdicts.jsonl`: one JSON object for every file that was looked at."""

    TYPE_NAME = "components.Verdicts"


class MusicVocabulary(Artifact):
    """`vocabulary.json`: what `music.vocabulary.Vocabulary.to_json` wrote."""

    TYPE_NAME = "components.MusicVocabulary"
