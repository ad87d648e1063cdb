"""MidiParser's executor: lists the files, runs the stages, tells the sum."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import apache_beam as beam
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils

from components.midi_parser import spec
from components.midi_parser.stages import SONGS, VERDICTS, MidiFile, ParseMidi
from components.progress import report
from components.records import SONG_SCHEMA, song_to_row
from music.errors import SegueError
from music.folder import midi_files


class Executor(BaseBeamExecutor):
    """Reads `data` into `songs` and `verdicts`."""

    def Do(self, input_dict, output_dict, exec_properties: dict[str, Any]) -> None:
        """Raises SegueError when the folder holds no file that becomes a song."""
        data = Path(exec_properties[spec.DATA])
        songs = artifact_utils.get_single_uri(output_dict[spec.SONGS])
        verdicts = artifact_utils.get_single_uri(output_dict[spec.VERDICTS])
        files = [
            MidiFile(os.fsencode(path), _name(path.relative_to(data))) for path in midi_files(data)
        ]
        with self._make_beam_pipeline() as pipeline:
            parsed = pipeline | "Files" >> beam.Create(files) | "Parse" >> ParseMidi()
            _ = (
                parsed[SONGS]
                | "ToRow" >> beam.Map(song_to_row)
                | "WriteSongs"
                >> beam.io.WriteToParquet(
                    os.path.join(songs, "songs"), SONG_SCHEMA, file_name_suffix=".parquet"
                )
            )
            _ = (
                parsed[VERDICTS]
                | "ToJson" >> beam.Map(json.dumps, sort_keys=True)
                | "InOneFile" >> beam.combiners.ToList()
                | "Sorted" >> beam.FlatMap(sorted)
                | "WriteVerdicts"
                >> beam.io.WriteToText(
                    os.path.join(verdicts, spec.VERDICTS_FILE), shard_name_template=""
                )
            )
        _tell(data, Path(verdicts, spec.VERDICTS_FILE))


def _name(path: Path) -> str:
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def _tell(data: Path, verdicts: Path) -> None:
    rows = [json.loads(line) for line in verdicts.read_text().splitlines()]
    good = [row for row in rows if row["verdict"] == "kept"]
    bad = [row for row in rows if row["verdict"] == "rejected"]
    named = "; ".join(f"{row['file']} ({row['reason']})" for row in bad[:3])
    more = f" and {len(bad) - 3} more, see {verdicts}" if len(bad) > 3 else ""
    notes = sum(row["notes"] for row in good)
    percussion = sum(row["percussion"] for row in good)
    if not good:
        raise SegueError(
            f"none of the {len(rows)} MIDI files in {data} can be learned from: {named}{more}"
        )
    if len(good) < 2:
        raise SegueError(
            f"{data} holds one song to learn from, {good[0]['file']}, and none to judge by; "
            f"give at least 2 different ones" + (f" (rejected: {named}{more})" if bad else "")
        )
    line = f"{len(rows):,} files: {len(good):,} kept, {len(bad):,} rejected; {notes:,} notes"
    if percussion:
        line += f", {percussion:,} of percussion left out"
    if bad:
        line += f"; rejected: {named}{more}"
    report(
        "MidiParser",
        line,
        files=len(rows),
        kept=len(good),
        rejected=dict(Counter(row["reason"] for row in bad)),
        notes=notes,
    )
