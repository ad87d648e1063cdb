"""`segue demo`: from nothing to songs, with every real part.

Bach's chorales come out of music21's corpus as MIDI files, the pipeline learns
from them with the default preset in a size that two cores can train in minutes,
an embedded server takes up what was pushed, and a client asks it for songs.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client.generation import Sampling
from client.songs import GenerateRequest, generate_song
from music.corpus import export
from pipeline.configuration import MODEL_NAME, Configuration, load_configuration
from pipeline.originals import find_check
from serving.process import model_server

# A chorale has four parts; other works of Bach's in the corpus have more or fewer.
CHORALE_PARTS = 4
SERVER_SECONDS = 120.0
# What two slow cores do in about six minutes, so that the learning rate comes down in
# time, and an end for slower ones.
EPOCHS = 8
TRAINING_MINUTES = 6
# What the model card says; the rights in music21's own words, shortened.
CARD = {
    "composer": "Johann Sebastian Bach",
    "source": "four-part chorales of music21's corpus, exported as MIDI by Segue",
    "rights": "music21's corpus/license.txt: to the best of their knowledge each piece is out of "
    "copyright in the United States or licensed for use; the encodings may be under copyright but "
    "have been licensed for use, though there may be restrictions on commercial use",
}


@dataclasses.dataclass(frozen=True)
class DemoSettings:
    """What the demo does.

    Attributes:
      root: folder of everything that it makes.
      songs: how many to generate.
      chorales: how many to learn from.
      preset: of the pipeline.
    """

    root: Path
    songs: int = 3
    chorales: int = 180
    preset: str = "default"

    @property
    def data(self) -> Path:
        """The folder of the chorales; another number of them, another folder."""
        return self.root / f"midi-{self.chorales}"

    def configuration(self) -> Configuration:
        """The preset on the demo's data, sized to end in minutes on two cores."""
        # A demo that is run again trains to much the same model, on a slower day to
        # one a little worse: no reason to end without songs.
        size = [f"training.max_minutes={TRAINING_MINUTES}", "gate.max_nats_over_service=0.2"]
        if self.preset == "default":
            size.append(f"training.epochs={EPOCHS}")
        # Of a string JSON is YAML as well.
        card = [f"card.{name}={json.dumps(value)}" for name, value in CARD.items()]
        return load_configuration(self.data, self.root, self.preset, [*size, *card])


def commands(settings: DemoSettings) -> str:
    """What a person can type next, a command a line; both of the demo's root."""
    root, data = shlex.quote(str(settings.root)), shlex.quote(str(settings.data))
    return (
        f"  segue serve --root {root} &\n"
        # Without its root no song could be held against those that the model learned from.
        f"  segue generate --root {root} --data {data} --seed 7 --out song.mid"
    )


def run_demo(
    settings: DemoSettings,
    run_pipeline: Callable[[Configuration], dict[str, Any]],
    require_pushed: Callable[[dict[str, Any]], None],
    on_song: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Runs the demo.

    Args:
      settings: how much of everything.
      run_pipeline: runs a configuration and says what it did.
      require_pushed: raises when that ended without a version in service.
      on_song: told (done, of) as chorales are exported.
      tell: prints a line.

    Returns:
      What was done, as JSON types.

    Raises:
      SegueError: a step failed; the message says which and why.
    """
    began = time.monotonic()
    root, config = settings.root, settings.configuration()
    songs = root / config.songs_dir.name  # as the person named it, not the absolute path
    count = settings.chorales
    tell(f"1 of 4: {count} four-part chorales by J. S. Bach, as MIDI files in {settings.data}")
    export("bach", config.data, count, parts=CHORALE_PARTS, on_song=on_song)
    tell(f"2 of 4: learning from them (at most {TRAINING_MINUTES} minutes of training)")
    outcome = run_pipeline(config)
    require_pushed(outcome)
    margin = outcome["ngram_nats"] - outcome["nats"]
    tell(
        f"        on chorales it has never seen the model needs {outcome['nats']:.2f} nats an "
        f"event, the n-gram {outcome['ngram_nats']:.2f}: "
        f"{'better' if margin > 0 else 'worse'} by {abs(margin):.2f}"
    )
    tell(f"3 of 4: serving version {outcome['version']}")
    reports = []
    log = config.logs_dir / "server.log"
    with model_server(config.serving_dir, MODEL_NAME, log, SERVER_SECONDS) as target:
        what = "song" if settings.songs == 1 else "songs"
        tell(f"4 of 4: {settings.songs} {what}, 250 events each")
        for seed in range(1, settings.songs + 1):
            request = GenerateRequest(
                out=songs / f"song-{seed}.mid",
                roll=songs / f"song-{seed}.svg",
                data=config.data,
                sampling=Sampling(seed=seed, temperature=0.9, top_p=0.98),
                target=target,
            )
            report = generate_song(request, None, lambda facts: find_check(root, facts))
            reports.append(report.as_dict())
            shared = report.originality.run if report.originality else None
            told = "" if shared is None else f"; at most {shared} in a row stand in a chorale"
            tell(f"        {report.out} ({report.notes} notes in {report.seconds:.2f} s{told})")
    minutes = (time.monotonic() - began) / 60
    tell(
        f"done in {minutes:.1f} minutes. Songs and their piano rolls are in {songs}; "
        f"for more:\n{commands(settings)}"
    )
    return {**outcome, "songs": reports, "minutes": minutes}
