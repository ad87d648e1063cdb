"""MidiParser as a pipeline sees it."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec

from components.artifacts import Songs, Verdicts
from components.midi_parser.executor import Executor
from components.midi_parser.spec import MidiParserSpec


class MidiParser(BaseBeamComponent):
    """Reads every MIDI file of a folder and its subfolders.

    Args:
      data: the folder.
      fingerprint: of the folder's contents (`music.folder.fingerprint`), so that
        a run is reused only while the files are the same.
      code: fingerprint of the source code, for the same reason.
    """

    SPEC_CLASS = MidiParserSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(self, data: str, fingerprint: str, code: str = ""):
        super().__init__(
            MidiParserSpec(
                data=data,
                fingerprint=fingerprint,
                code=code,
                songs=types.Channel(type=Songs),
                verdicts=types.Channel(type=Verdicts),
            )
        )
