"""MidiParser as a pipeline sees it."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec

from components.artifacts import Songs, Verdicts
from components.midi_parser.executor import Executor
from components.midi_parser.spec import MidiParserSpec


class MidiParser(BaseBeamComponent):
    """Reads every MIDI file of a folder and its subfolders, and splits the songs.

    Args:
      data: the folder.
      fingerprint: of the folder's contents (`music.folder.fingerprint`), so that
        a run is reused only while the files are the same.
      eval_share: of songs to hold out.
      salt: of the split.
      store: folder in which readings are kept by content, so that the next run
        parses new files only; every worker must see it. Empty: kept for this run
        alone, beside the songs.
      shards: files a split, at least.
      code: fingerprint of the source code, for the same reason as the first.
    """

    SPEC_CLASS = MidiParserSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        data: str,
        fingerprint: str,
        eval_share: float,
        salt: str,
        store: str = "",
        shards: int = 1,
        code: str = "",
    ):
        super().__init__(
            MidiParserSpec(
                data=data,
                fingerprint=fingerprint,
                store=store,
                eval_share=eval_share,
                salt=salt,
                shards=shards,
                code=code,
                songs=types.Channel(type=Songs),
                verdicts=types.Channel(type=Verdicts),
            )
        )
