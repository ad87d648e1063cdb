"""Sound: what is needed, what is refused, what the file says."""

import shutil

import numpy as np
import pytest

from client.rendering import sound
from client.rendering.settings import RenderSettings
from client.rendering.sound import check_length, check_sound, find_soundfont, wav
from music.errors import SegueError

from .conftest import PROVENANCE, scale, song_of


def _has_sound():
    try:
        check_sound()
    except SegueError:
        return False
    return True


needs_sound = pytest.mark.skipif(
    not _has_sound(), reason="FluidSynth or a soundfont is not installed"
)


def chunks(data):
    """A RIFF file's chunks, in order."""
    found, at = [], 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    assert at == len(data) == int.from_bytes(data[4:8], "little") + 8
    return found


@pytest.fixture
def soundfont(tmp_path):
    path = tmp_path / "piano.sf2"
    path.write_bytes(b"RIFF\0\0\0\0sfbk")
    return path


@pytest.fixture(scope="module")
def played():
    return wav(song_of([(0, 24, 69), (48, 24, 69)], tempo=120.0), PROVENANCE)


@needs_sound
def test_a_wav_is_16_bit_44100_stereo_and_says_where_it_came_from(played):
    found = dict(chunks(played))
    assert list(found) == [b"fmt ", b"LIST", b"data"]
    form = np.frombuffer(found[b"fmt "][:16], "<u2")
    assert form[:2].tolist() == [1, 2]
    assert int.from_bytes(found[b"fmt "][4:8], "little") == 44_100
    assert form[7] == 16
    for told in (b"INAMSong 1", b"after J. S. Bach, by Segue", PROVENANCE.remark.encode()):
        assert told.replace(b"INAM", b"") in found[b"LIST"]


@needs_sound
def test_what_sounds_is_the_song(played):
    samples = np.frombuffer(dict(chunks(played))[b"data"], "<i2").reshape(-1, 2)[:, 0]
    assert 28_000 < np.abs(samples.astype(int)).max() < 30_000
    loud = samples[4_410:22_050].astype(float)
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(len(loud))))
    peak = np.argmax(spectrum) * 44_100 / len(loud)
    assert min(abs(peak / 440 - whole) for whole in (1, 2, 3)) < 0.02
    # The second note begins after a second.
    before, after = samples[40_000:43_500].astype(int), samples[44_600:48_000].astype(int)
    assert np.abs(after).mean() > 2 * np.abs(before).mean()


@needs_sound
def test_the_same_song_gives_the_same_bytes(played):
    assert wav(song_of([(0, 24, 69), (48, 24, 69)], tempo=120.0), PROVENANCE) == played


def test_a_song_that_is_too_long_is_refused():
    song = scale(32, 24, tempo=30.0)
    check_length(song, RenderSettings(seconds=64))
    with pytest.raises(SegueError, match=r"lasts 1\.1 minutes; at most 1 are played: "):
        check_length(song, RenderSettings(seconds=60))


def test_a_missing_program_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SegueError, match="wav needs FluidSynth.*apt-get install fluidsynth"):
        check_sound()


def test_a_soundfont_is_found_by_setting_variable_and_place(soundfont, tmp_path, monkeypatch):
    monkeypatch.delenv("SEGUE_SOUNDFONT", raising=False)
    monkeypatch.setattr(sound, "SOUNDFONT_FOLDERS", (str(tmp_path / "none"), str(tmp_path)))
    assert find_soundfont() == soundfont
    other = tmp_path / "z.sf2"
    other.write_bytes(soundfont.read_bytes())
    monkeypatch.setenv("SEGUE_SOUNDFONT", str(other))
    assert find_soundfont() == other
    assert find_soundfont(RenderSettings(soundfont=soundfont)) == soundfont


def test_a_missing_soundfont_is_told_with_the_way_to_get_one(tmp_path, monkeypatch):
    monkeypatch.delenv("SEGUE_SOUNDFONT", raising=False)
    monkeypatch.setattr(sound, "SOUNDFONT_FOLDERS", (str(tmp_path),))
    with pytest.raises(SegueError, match="needs a soundfont.*SEGUE_SOUNDFONT"):
        find_soundfont()
    (tmp_path / "a.sf2").write_bytes(b"no soundfont")
    with pytest.raises(SegueError, match="needs a soundfont"):
        find_soundfont()
    with pytest.raises(SegueError, match=r"a\.sf2 is no readable \.sf2 or \.sf3 file"):
        find_soundfont(RenderSettings(soundfont=tmp_path / "a.sf2"))


def test_a_program_that_fails_is_one_line(soundfont, tmp_path, monkeypatch):
    program = tmp_path / "fluidsynth"
    program.write_text("#!/bin/sh\necho 'cannot do\nthat' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(program))
    with pytest.raises(SegueError, match=r"failed \(exit code 3\): cannot do that$"):
        wav(scale(8), PROVENANCE, RenderSettings(soundfont=soundfont))
