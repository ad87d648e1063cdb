"""MidiParser's executor: lists the files, runs the stages, tells the sum."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.engine import counters, make_pipeline
from components.files import SUMMARY_FILE
from components.midi_parser import spec
from components.midi_parser.held_out import read_held_out, remember
from components.midi_parser.reader import Reader
from components.midi_parser.stages import (
    ParseFiles,
    SplitSongs,
    WriteBeyondShare,
    WriteSongs,
    WriteSummary,
    WriteVerdicts,
)
from components.progress import report
from music.errors import SegueError
from music.folder import File, named_files, passed_over
from music.midi import SUFFIXES
from music.split import Splitter

SONGS_A_SHARD = 1_000
VERDICTS_A_SHARD = 50_000
BYTES_A_SECOND = 1_200_000  # that one core parses and writes, roughly
SAMPLE = 200


class Executor(BaseBeamExecutor):
    """Reads `data` into `songs` and `verdicts`."""

    def Do(self, input_dict, output_dict, exec_properties: dict[str, Any]) -> None:
        """Raises SegueError when the folder holds too little that becomes songs."""
        data = Path(exec_properties[spec.DATA])
        songs = artifact_utils.get_single_uri(output_dict[spec.SONGS])
        verdicts = artifact_utils.get_single_uri(output_dict[spec.VERDICTS])
        kept_store = exec_properties[spec.STORE]
        reader = Reader(kept_store or os.path.join(songs, ".readings"))
        salt = exec_properties[spec.SALT]
        splitter = Splitter(
            float(exec_properties[spec.EVAL_SHARE]), salt, read_held_out(reader.folder, salt)
        )
        files = named_files(data)
        shards = max(int(exec_properties[spec.SHARDS]), -(-len(files) // SONGS_A_SHARD))

        summary = os.path.join(verdicts, SUMMARY_FILE)
        beyond = os.path.join(verdicts, "held-out-beyond-share.txt")
        with make_pipeline(self, _seconds(files, reader)) as pipeline:
            parsed = pipeline | "Files" >> beam.Create(files) | "Parse" >> ParseFiles(reader)
            placed = parsed | "Split" >> SplitSongs(splitter)
            _ = placed | "WriteSongs" >> WriteSongs(songs, shards, reader)
            _ = placed | "WriteBeyondShare" >> WriteBeyondShare(beyond)
            _ = parsed | "WriteVerdicts" >> WriteVerdicts(
                os.path.join(verdicts, spec.VERDICTS_PATTERN), -(-len(files) // VERDICTS_A_SHARD)
            )
            _ = parsed | "WriteSummary" >> WriteSummary(summary, verdicts)
        if fileio.exists(beyond):
            remember(reader.folder, salt, io_utils.read_string_file(beyond).split())
        if kept_store:
            reader.store.remove_other_readers()
        else:
            shutil.rmtree(reader.folder)
        facts = json.loads(io_utils.read_string_file(summary))
        facts["known"] = counters(pipeline.result).get("known", 0)
        facts["passed_over"] = len(passed_over(data))
        _tell(data, facts)


def _seconds(files: Sequence[File], reader: Reader) -> float:
    """How long the files that the store does not know take on one core, by a sample."""
    sample = files[:: -(-len(files) // SAMPLE)]
    new = 0
    for file in sample:
        try:
            size = os.path.getsize(file.path)
            if size > reader.limits.bytes or not os.path.isfile(file.path):
                continue
            with open(file.path, "rb") as handle:
                content = hashlib.sha256(handle.read(reader.limits.bytes)).hexdigest()
            new += 0 if reader.store.known(content) else size
        except OSError:
            continue  # judged when it is read
    return new * len(files) / len(sample) / BYTES_A_SECOND


def _named(facts: dict[str, Any], detailed: bool = False) -> str:
    """The first few rejected files with their reasons; duplicates only if nothing else."""
    causes = sorted(facts["reasons"], key=lambda reason: (reason == "duplicate", reason))
    named = [
        f"{file} ({reason}: {detail})" if detailed else f"{file} ({reason})"
        for reason in causes
        for file, detail in facts["examples"][reason]
    ]
    more = facts["rejected"] - len(named[:3])
    return "; ".join(named[:3]) + (f" and {more:,} more" if more else "")


def _tell(data: Path, facts: dict[str, Any]) -> None:
    songs = facts["kept"] + facts["repaired"]
    if songs < 2:
        named = f"; rejected: {_named(facts, detailed=True)}" if facts["rejected"] else ""
        if not songs:
            raise SegueError(
                f"none of the {facts['files']:,} MIDI files in {data} can be learned from{named}"
            )
        raise SegueError(
            f"{data} holds one song to learn from and none to judge by; give at least 2 "
            f"different ones{named}"
        )
    line = f"{facts['line']}; {facts['notes']:,} notes"
    if facts["percussion"]:
        line += f", {facts['percussion']:,} of percussion left out"
    if facts["rounding_max"]:
        line += (
            f"; moved to the grid by {facts['rounding_mean']:.2g} ticks on average, "
            f"{facts['rounding_max']:.2g} at most"
        )
    if facts["known"]:
        line += f"; {facts['known']:,} not parsed again"
    if facts["passed_over"]:
        count = facts["passed_over"]
        line += f"; {count:,} other file{'s' * (count != 1)} passed over (not {SUFFIXES})"
    if facts["rejected"]:
        line += f"; rejected: {_named(facts)}"
    report("MidiParser", line, **facts)
