"""ServingValidator's executor."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import io_utils, path_utils

from components.files import (
    FACTS_FILE,
    GATE_FILE,
    INDEX_FILE,
    PANEL_FILE,
    REFERENCE_FILE,
    SUMMARY_FILE,
    VOCABULARY_FILE,
    panel_song,
)
from components.kept import REQUEST_FILE, Request
from components.model_card import CARD_JSON, CARD_TEXT, CardSettings, build_card, to_markdown
from components.progress import report
from components.pusher.warmup import write_requests
from components.read_back import intact
from components.serving_validator import spec
from components.serving_validator.outcome import panel_line
from components.serving_validator.panel import Panel, play
from components.serving_validator.settings import PanelSettings
from components.stages import read_songs, song_shards
from music.errors import SegueError
from music.measures import PanelVerdict, Reference, SongIndex, as_heard, judge
from music.midi import write_midi
from music.split import EVAL
from music.vocabulary import Vocabulary
from serving.process import ServerTooSlow

LOG_FILE = "server.log"


class Executor(BaseExecutor):
    """Serves `model`, and leaves a `blessing` and the `panel` that it is given for."""

    def Do(self, input_dict, output_dict, exec_properties: dict[str, Any]) -> None:
        """Marks the blessing; a model that does not serve is not blessed, with the reason."""
        uris = {name: artifact_utils.get_single_uri(found) for name, found in input_dict.items()}
        settings = PanelSettings.from_dict(json.loads(exec_properties[spec.SETTINGS]))
        given = CardSettings(**json.loads(exec_properties[spec.CARD]))
        blessing = artifact_utils.get_single_instance(output_dict[spec.BLESSING])
        folder = artifact_utils.get_single_uri(output_dict[spec.PANEL])
        model = artifact_utils.get_single_instance(input_dict[spec.MODEL])
        path = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
        with tempfile.TemporaryDirectory() as versions:
            candidate = os.path.join(versions, "1")
            io_utils.copy_dir(path, candidate)
            write_requests(candidate)
            value = self._judged(Path(versions), uris, settings, folder)
            value["given"] = dataclasses.asdict(given)
            if not value["reasons"]:
                _write_card(candidate, given, uris, value)
                _write_request(candidate, exec_properties[spec.REQUEST], uris)
                # What has been served is what is pushed, to the byte.
                io_utils.copy_dir(candidate, path_utils.stamped_model_path(blessing.uri))
        _finish(blessing, folder, value)

    def _judged(
        self, versions: Path, uris: dict[str, str], settings: PanelSettings, folder: str
    ) -> dict[str, Any]:
        """What is told of a candidate; its songs go to the panel's folder."""
        vocabulary = _read(uris[spec.VOCABULARY], VOCABULARY_FILE, Vocabulary.from_json)
        held_out = []
        for path in song_shards(uris[spec.SONGS], EVAL):
            with intact(path):
                held_out += [one for many in read_songs(path) for one in many]
        # What the songs are held against, before a server is started for them.
        reference = _read(uris[spec.REFERENCE], REFERENCE_FILE, Reference.from_json)
        path = os.path.join(uris[spec.REFERENCE], INDEX_FILE)
        with intact(path), fileio.open(path, "rb") as file:
            index = SongIndex.load(file)
        log = Path(folder if os.path.isdir(folder) else self._get_tmp_dir(), LOG_FILE)
        try:
            panel = play(versions, held_out, vocabulary, settings, log)
        except ServerTooSlow as error:
            # No verdict, which would be kept and given again when the machine is quicker.
            raise SegueError(f"{error}; panel.server_seconds allows more") from error
        except SegueError as error:
            return {"settings": settings.to_dict(), "reasons": [str(error)]}
        verdict = judge(
            panel.songs,
            [as_heard(song, vocabulary).song for song in held_out],
            reference,
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
            remark = _remark(panel, number, settings)
            _write(folder, panel_song(number), write_midi(song, remark))
        return _told(panel, verdict, settings) | {"reasons": reasons}


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


def _write_card(
    candidate: str, given: CardSettings, uris: dict[str, str], value: dict[str, Any]
) -> None:
    card = build_card(
        given,
        _read(candidate, os.path.join("assets", FACTS_FILE), json.loads),
        _read(uris[spec.VERDICTS], SUMMARY_FILE, json.loads),
        _read(uris[spec.REFERENCE], REFERENCE_FILE, Reference.from_json),
        _read(uris[spec.EVALUATION], GATE_FILE, json.loads),
        value,
    )
    text = json.dumps(card, indent=1, sort_keys=True, allow_nan=False) + "\n"
    os.makedirs(os.path.dirname(os.path.join(candidate, CARD_JSON)), exist_ok=True)
    _write(candidate, CARD_JSON, text.encode())
    _write(candidate, CARD_TEXT, to_markdown(card).encode())


def _write_request(candidate: str, asked: str, uris: dict[str, str]) -> None:
    """What the version was asked for, with the music that the files turned out to hold."""
    music = _read(uris[spec.VERDICTS], SUMMARY_FILE, json.loads)["music"]
    request = dataclasses.replace(Request.from_json(asked), music=music)
    _write(candidate, REQUEST_FILE, request.to_json().encode())


def _finish(blessing: Artifact, folder: str, value: dict[str, Any]) -> None:
    """Marks the blessing as TFX's InfraValidator does, and tells why."""
    reasons = value["reasons"]
    blessed = not reasons
    _write(folder, PANEL_FILE, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())
    name = "INFRA_BLESSED" if blessed else "INFRA_NOT_BLESSED"
    io_utils.write_string_file(os.path.join(blessing.uri, name), "")
    blessing.set_int_custom_property("blessed", int(blessed))
    # There is a model beside the mark, which TFX's Pusher looks for.
    blessing.set_int_custom_property("has_model", int(blessed))
    report("ServingValidator", panel_line(value), blessed=blessed, reasons=reasons)


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


def _read(folder: str, name: str, parse: Callable[[str], Any]) -> Any:
    """What a file of an artifact says, which may be one of an earlier run."""
    path = os.path.join(folder, name)
    with intact(path):
        return parse(io_utils.read_string_file(path))
