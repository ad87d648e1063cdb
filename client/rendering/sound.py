"""A song as sound: FluidSynth plays the MIDI file on a soundfont's piano.

FluidSynth is a program of its own, started once a song and ended when it takes too
long; a soundfont holds the instrument. What it plays is made as loud as a WAV file can
be, and the file says where the song came from in its INFO chunk. The same song, program
and soundfont give the same bytes.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from client.rendering.provenance import SOFTWARE, Provenance, plain
from client.rendering.settings import DEFAULT, RenderSettings
from music.errors import SegueError
from music.midi import write_midi
from music.song import TICKS_PER_QUARTER, Song

RATE = 44_100
CHANNELS = 2
SOUNDFONT_VARIABLE = "SEGUE_SOUNDFONT"
SOUNDFONT_FOLDERS = (
    "/usr/share/sounds/sf2",
    "/usr/share/sounds/sf3",
    "/usr/share/soundfonts",
    "/usr/local/share/soundfonts",
    "~/.local/share/soundfonts",
)
SUFFIXES = (".sf2", ".sf3")
# Debian's names of whole General MIDI sets. An .sf3 is packed, and takes ten times as
# long to load as a song takes to play.
_PREFERRED = ("FluidR3_GM.sf2", "TimGM6mb.sf2")

# Low enough that chords of many loud notes are not clipped before they are made louder.
_GAIN = 0.25
_LOUDEST = 0.89 * 32767  # one decibel below the most
# How long the last notes may ring.
_RINGING = 10.0
_DEFAULT_TEMPO = 120.0


def check_sound(settings: RenderSettings = DEFAULT) -> tuple[str, Path]:
    """FluidSynth's path and a soundfont's.

    Raises:
      SegueError: one of them is missing; says how to get it.
    """
    program = shutil.which("fluidsynth")
    if program is None:
        raise SegueError(
            "wav needs FluidSynth, which is not installed: install it "
            "(Debian, Ubuntu: apt-get install fluidsynth fluid-soundfont-gm), or leave out wav"
        )
    return program, find_soundfont(settings)


def find_soundfont(settings: RenderSettings = DEFAULT) -> Path:
    """The soundfont that is named, else one that the system has.

    Raises:
      SegueError: there is none, or what was named is none.
    """
    named = settings.soundfont or os.environ.get(SOUNDFONT_VARIABLE)
    if named:
        path = Path(named).expanduser()
        if not _is_soundfont(path):
            raise SegueError(
                f"soundfont {path} is no readable {' or '.join(SUFFIXES)} file; name another "
                f"with --soundfont or {SOUNDFONT_VARIABLE}"
            )
        return path
    found = []
    for folder in SOUNDFONT_FOLDERS:
        here = Path(folder).expanduser()
        if here.is_dir():
            found += [path for path in sorted(here.iterdir()) if _is_soundfont(path)]
    for name in _PREFERRED:
        for path in found:
            if path.name == name:
                return path
    if found:
        return found[0]
    raise SegueError(
        "wav needs a soundfont, and none was found: install one (Debian, Ubuntu: apt-get install "
        f"fluid-soundfont-gm), or name an .sf2 file with --soundfont or {SOUNDFONT_VARIABLE}"
    )


def _is_soundfont(path: Path) -> bool:
    """Whether a file begins as a soundfont does."""
    try:
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            return False
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head[:4] == b"RIFF" and head[8:] == b"sfbk"


def song_seconds(song: Song) -> float:
    """How long a song sounds, less what rings on."""
    return song.end / TICKS_PER_QUARTER * 60 / (song.tempo or _DEFAULT_TEMPO)


def check_length(song: Song, settings: RenderSettings = DEFAULT) -> None:
    """Refuses a song that is too long to be played.

    Raises:
      SegueError: it lasts longer than `settings.seconds`.
    """
    seconds = song_seconds(song)
    if seconds > settings.seconds:
        raise SegueError(
            f"{plain(song.title) or 'the song'} lasts {seconds / 60:,.1f} minutes; at most "
            f"{settings.seconds / 60:g} are played: leave out wav, or ask for fewer steps"
        )


def wav(song: Song, provenance: Provenance, settings: RenderSettings = DEFAULT) -> bytes:
    """A song as WAV: 16 bit, 44.1 kHz, stereo.

    Safe to call from several threads. Needs a temporary file and about three times the
    file's size in memory, 10 MB a minute.

    Raises:
      SegueError: FluidSynth or a soundfont is missing or fails, or the song is too long.
    """
    program, soundfont = check_sound(settings)
    check_length(song, settings)
    with tempfile.TemporaryDirectory(prefix="segue-wav-") as folder:
        midi, out = Path(folder, "song.mid"), Path(folder, "song.wav")
        midi.write_bytes(write_midi(song))
        _play(program, soundfont, midi, out, song_seconds(song))
        samples = _samples(out.read_bytes())
    if samples is None or not samples.any():
        raise SegueError(
            f"FluidSynth made no sound with {soundfont.name}; name another soundfont with "
            f"--soundfont or {SOUNDFONT_VARIABLE}"
        )
    return _riff(_loud(_cut(samples, song_seconds(song))), provenance)


def _play(program: str, soundfont: Path, midi: Path, out: Path, seconds: float) -> None:
    command = [
        program, "-n", "-i", "-q", "-f", os.devnull,
        "-r", str(RATE), "-g", str(_GAIN), "-O", "s16", "-T", "wav", "-F", str(out),
        "-o", "synth.cpu-cores=1", "-o", "synth.polyphony=512",
        str(soundfont.resolve()), str(midi),
    ]  # fmt: skip
    # Twenty times faster than it sounds on a slow core; a soundfont takes seconds to load.
    limit = 60 + seconds
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SegueError(
            f"FluidSynth was not done after {limit:.0f} s; leave out wav, or try again when the "
            "machine has less to do"
        ) from error
    except OSError as error:
        raise SegueError(f"FluidSynth cannot be started: {error.strerror or error}") from error
    if done.returncode or not out.is_file():
        said = plain(done.stderr.decode(errors="replace"))[-200:]
        raise SegueError(f"FluidSynth failed (exit code {done.returncode}): {said or 'no word'}")


def _samples(data: bytes) -> np.ndarray | None:
    """int16[N, 2] of a WAV file's sound; None where it is not what was asked for."""
    at, sound = 12, None
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"data":
            sound = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    if data[:4] != b"RIFF" or sound is None:
        return None
    frames = len(sound) // (2 * CHANNELS)
    return np.frombuffer(sound, "<i2", frames * CHANNELS).reshape(-1, CHANNELS)


def _cut(samples: np.ndarray, seconds: float) -> np.ndarray:
    """Without what is silent at the end, and with no more ringing than is allowed."""
    samples = samples[: int((seconds + _RINGING) * RATE)]
    heard = np.flatnonzero(np.abs(samples[:, 0].astype(np.int32)) + np.abs(samples[:, 1]) > 2)
    return samples[: int(heard[-1]) + 1] if len(heard) else samples


def _loud(samples: np.ndarray) -> np.ndarray:
    """As loud as it can be; in pieces, so that a long song does not fill the memory."""
    peak = max(int(samples.max()), -int(samples.min()), 1)
    out = np.empty_like(samples)
    for first in range(0, len(samples), RATE):
        piece = samples[first : first + RATE]
        out[first : first + RATE] = np.rint(piece * (_LOUDEST / peak))
    return out


def _riff(samples: np.ndarray, provenance: Provenance) -> bytes:
    block = 2 * CHANNELS
    form = struct.pack("<HHIIHH", 1, CHANNELS, RATE, RATE * block, block, 16)
    told = {
        b"INAM": provenance.title,
        b"IART": provenance.byline,
        b"ICMT": provenance.described,
        b"ISFT": SOFTWARE,
    }
    info = b"INFO" + b"".join(
        _riff_chunk(name, plain(text).encode() + b"\0") for name, text in told.items()
    )
    body = b"WAVE" + b"".join(
        _riff_chunk(name, data)
        for name, data in ((b"fmt ", form), (b"LIST", info), (b"data", samples.tobytes()))
    )
    return _riff_chunk(b"RIFF", body)


def _riff_chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
