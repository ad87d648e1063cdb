"""ServingValidator's executor."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tfx.components.evaluator import constants
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import io_utils, path_utils

from components.progress import report
from components.reference_builder.stages import INDEX_FILE, REFERENCE_FILE
from components.serving_validator import spec
from components.serving_validator.panel import Panel, play
from components.serving_validator.settings import PanelSettings
from components.stages import read_songs, song_shards
from components.vocabulary_builder.spec import VOCABULARY_FILE
from music.errors import SegueError
from music.measures import PanelVerdict, Reference, SongIndex, as_heard, judge
from music.midi import write_midi
from music.split import EVAL
from music.vocabulary import Vocabulary

PANEL_FILE = "panel.json"
LOG_FILE = "server.log"


class Executor(BaseExecutor):
    """Serves `model`, and leaves a `blessing` and the `panel` that it is given for."""

    def Do(self, input_dict, output_dict, exec_properties: dict[str, Any]) -> None:
        """Marks the blessing; a model that does not serve is not blessed, with the reason."""
        blessing = artifact_utils.get_single_instance(output_dict[spec.BLESSING])
        folder = artifact_utils.get_single_uri(output_dict[spec.PANEL])
        evaluated = artifact_utils.get_single_instance(input_dict[spec.MODEL_BLESSING])
        if evaluated.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) != 1:
            reasons = ["the Evaluator has not blessed it"]
            _finish(blessing, folder, {"reasons": reasons}, reasons, "not served: ")
            return
        settings = PanelSettings.from_dict(json.loads(exec_properties[spec.SETTINGS]))
        model = artifact_utils.get_single_instance(input_dict[spec.MODEL])
        songs = artifact_utils.get_single_uri(input_dict[spec.SONGS])
        known = artifact_utils.get_single_uri(input_dict[spec.VOCABULARY])
        beside = artifact_utils.get_single_uri(input_dict[spec.REFERENCE])
        vocabulary = Vocabulary.from_json(_read(known, VOCABULARY_FILE))
        held_out = [
            one for path in song_shards(songs, EVAL) for many in read_songs(path) for one in many
        ]
        path = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
        log = Path(folder if os.path.isdir(folder) else self._get_tmp_dir(), LOG_FILE)
        try:
            panel = play(path, held_out, vocabulary, settings, log)
        except SegueError as error:
            reasons = [str(error)]
            _finish(blessing, folder, {"reasons": reasons}, reasons, "refused: ")
            return
        with fileio.open(os.path.join(beside, INDEX_FILE), "rb") as file:
            index = SongIndex.load(file)
        verdict = judge(
            panel.songs,
            [as_heard(song, vocabulary).song for song in held_out],
            Reference.from_json(_read(beside, REFERENCE_FILE)),
            index,
            settings.bounds,
        )
        reasons = list(verdict.shortfalls)
        if panel.seconds > settings.max_seconds:
            reasons.append(
                f"a song of {settings.steps} events took {panel.seconds:.2f} s "
                f"(at most {settings.max_seconds:g})"
            )
        for number, song in enumerate(panel.songs, start=1):
            _write(
                folder, f"song-{number:02d}.mid", write_midi(song, _remark(panel, number, settings))
            )
        value = _told(panel, verdict, settings) | {"reasons": reasons}
        _finish(blessing, folder, value, reasons, "refused: " if reasons else "")


def _told(panel: Panel, verdict: PanelVerdict, settings: PanelSettings) -> dict[str, Any]:
    return {
        "settings": settings.to_dict(),
        "server": panel.server,
        "seconds": panel.seconds,
        "sections": [
            {
                "id": one.song.id,
                "title": one.song.title,
                "offset": one.offset,
                "length": len(one.events),
            }
            for one in panel.sections
        ],
        **verdict.as_dict(),
    }


def _finish(
    blessing: Artifact, folder: str, value: dict[str, Any], reasons: list[str], begins: str
) -> None:
    """Marks the blessing as TFX's InfraValidator does, and tells why."""
    blessed = not reasons
    _write(folder, PANEL_FILE, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())
    name = "INFRA_BLESSED" if blessed else "INFRA_NOT_BLESSED"
    io_utils.write_string_file(os.path.join(blessing.uri, name), "")
    blessing.set_int_custom_property("blessed", int(blessed))
    if blessed:
        findings = [one["words"] for one in value["findings"]]
        line = f"blessed: served in {value['seconds']:.2f} s a song; " + "; ".join(findings)
    else:
        line = begins + "; ".join(reasons)
    report("ServingValidator", line, blessed=blessed, reasons=reasons)


def _remark(panel: Panel, number: int, settings: PanelSettings) -> str:
    section = panel.sections[number - 1]
    return (
        f"made by Segue for the gate; seed {settings.seed + number - 1}; "
        f"from {len(section.events)} events at {section.offset} of {section.song.id[:12]}"
    )


def _write(folder: str, name: str, data: bytes) -> None:
    path = os.path.join(folder, name)
    with fileio.open(f"{path}.partial", "wb") as file:
        file.write(data)
    fileio.rename(f"{path}.partial", path, overwrite=True)


def _read(folder: str, name: str) -> str:
    return io_utils.read_string_file(os.path.join(folder, name))
