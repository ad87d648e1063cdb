"""What is heard and how it is shown, in a real browser, with presses as a person's."""

from __future__ import annotations

import io
import time
import wave

import pytest

from client.gallery import write_gallery
from music.midi import read_midi
from music.song import ONSET, PITCH, TICKS_PER_QUARTER
from tests.client.gallery.batches import ABOUT, Batch
from tests.client.gallery.steps import COMPLETE, open_song, position, row

# What reaches the loudspeakers is listened to, and when each oscillator is to start is kept.
LISTEN = """
window.starts = [];
window.going = new Set();
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to instanceof AudioDestinationNode) {
    window.tap ??= this.context.createAnalyser();
    if (window.tap.context === this.context) connect.call(this, window.tap);
  }
  return connect.call(this, to, ...rest);
};
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (when) {
  if (when) window.starts.push([this.type, this.frequency.value, when]);
  if (when && window.tap?.context === this.context) window.going.add(this);
  return start.call(this, when);
};
const stop = OscillatorNode.prototype.stop;
OscillatorNode.prototype.stop = function (when) {
  window.going.delete(this);
  return stop.call(this, when);
};
window.loudness = () => {
  const wave = new Float32Array(window.tap.fftSize);
  window.tap.getFloatTimeDomainData(wave);
  return Math.max(...wave.map(Math.abs));
};
true
"""


def test_a_press_plays_the_notes_of_the_file_at_their_times(page, batch):
    assert page.evaluate(LISTEN)
    page.click(f"{row('Wachtelwacht')} .play")
    page.wait("Gallery.player.playing && window.loudness() > 0.02")
    before = position(page)
    page.wait(f"Gallery.player.position() > {before} + 1.5")
    page.click("#toggle")
    # The synthesizer warms up with a note that nobody hears, on its own clock and on ours.
    starts = page.evaluate("window.starts.filter(([type]) => type === 'sine').slice(2)")
    song = read_midi((batch.folder / "songs" / "song-0001.mid").read_bytes())
    tick = 60 / song.tempo / TICKS_PER_QUARTER
    wanted = [
        (round(440 * 2 ** ((pitch - 69) / 12), 1), onset * tick)
        for onset, pitch in song.notes[:, [ONSET, PITCH]].tolist()
    ][: len(starts)]
    assert len(starts) > 6
    first = starts[0][2]
    # In order of onset, and at one moment in order of pitch, as in the file.
    assert [round(frequency, 1) for _, frequency, _ in starts] == [f for f, _ in wanted]
    assert [when - first for *_, when in starts] == pytest.approx(
        [at for _, at in wanted], abs=1e-6
    )


def test_nothing_sounds_or_is_loaded_before_somebody_presses(page):
    open_song(page, "Erlkönig")
    assert not page.evaluate("Gallery.player.on")
    assert not [url for url in page.urls if "synth" in url]
    assert page.evaluate("document.getElementById('player').hidden")


def test_pausing_is_silent_and_playing_goes_on_from_there(page):
    page.evaluate(LISTEN)
    page.click(f"{row('Wachtelwacht')} .play")
    page.wait("window.tap && window.loudness() > 0.02 && Gallery.player.position() > 0.5")
    assert page.evaluate("window.going.size") > 2
    page.click("#toggle")
    page.wait("window.loudness() < 0.001")
    page.wait("window.going.size === 0")  # what was told ahead is taken back
    stopped = position(page)
    assert stopped >= 0.5
    time.sleep(0.2)
    assert position(page) == stopped
    page.click(f"{row('Wachtelwacht')} .play")
    page.wait("Gallery.player.playing")
    assert stopped <= position(page) < stopped + 1.5


def test_one_song_plays_at_a_time(page):
    page.click(f"{row('Wachtelwacht')} .play")
    page.wait("Gallery.player.playing")
    page.click(f"{row('Erlkönig')} .play")
    page.wait("Gallery.player.playing && Gallery.player.loaded.song.title === 'Erlkönig'")
    on = "[...document.querySelectorAll('#rows .row[data-on=true] .title')].map(a => a.textContent)"
    assert page.evaluate(on) == ["Erlkönig"]
    assert page.text("#now-title") == "Erlkönig"


def test_the_playhead_follows_and_original_and_new_song_take_turns(page):
    open_song(page, "Erlkönig")
    place = "new DOMMatrix(getComputedStyle(document.querySelector('{} .playhead')).transform).e"
    new, original = (place.format(f".side:nth-of-type({n})") for n in (1, 2))
    page.click(".side:nth-of-type(1) .play")
    page.wait("Gallery.player.position() > 0.3")
    first = page.evaluate(new)
    page.wait(f"{new} > {first} + 8")
    page.click(".side:nth-of-type(2) .play")
    page.wait("Gallery.player.playing && Gallery.player.loaded.side === 'original'")
    page.wait(f"{original} > 30")
    assert page.evaluate("document.querySelector('.side:nth-of-type(1) .playhead').hidden")
    assert page.text("#now-side") == "the original"
    assert page.texts(".side .play") == ["Play", "Pause"]


def test_a_press_on_a_roll_and_the_slider_go_to_that_moment(page):
    open_song(page, "Erlkönig")
    page.click(".side:nth-of-type(1) .room", (0.5, 0.6))
    page.wait("Gallery.player.playing")
    seconds = page.evaluate("Gallery.player.loaded.track.seconds")
    assert position(page) == pytest.approx(seconds / 2, abs=2.5)
    page.click("#seek", (0.9, 0.5))
    page.wait(f"Gallery.player.playing && Gallery.player.position() > {0.85 * seconds}")


def test_a_song_that_ends_stands_at_its_beginning(page):
    open_song(page, "Erlkönig")
    page.click(".side:nth-of-type(1) .play")
    page.wait("Gallery.player.playing")
    page.evaluate("Gallery.player.seek(Gallery.player.loaded.track.seconds - 0.2)")
    page.wait("Gallery.player.position() > 10")
    page.wait("!Gallery.player.on")
    assert position(page) == 0


def test_the_volume_is_heard(page):
    page.evaluate(LISTEN)
    page.click(f"{row('Wachtelwacht')} .play")
    page.wait("window.tap && window.loudness() > 0.02")
    page.click("#volume", (0.02, 0.5))
    page.wait("window.loudness() < 0.005")
    assert page.evaluate("Gallery.player.playing")


def test_who_wants_no_motion_gets_a_roll_that_stands_still(open_page, gallery):
    def moved(**media):
        page = open_page(gallery, 390, 844, **media)
        page.wait(COMPLETE)
        open_song(page, "Erlkönig")
        page.click(".side .play")
        page.wait("Gallery.player.playing")
        page.evaluate("Gallery.player.seek(16)")
        place = "document.querySelector('.side .roll').scrollLeft"
        page.wait(f"{place} > 0")
        first = page.evaluate(place)
        time.sleep(0.4)
        return page.evaluate(place) - first

    assert moved() > 0
    assert moved(prefers_reduced_motion="reduce") == 0


def test_a_recording_and_the_synthesizer_take_turns(open_page, tmp_path):
    batch = Batch(tmp_path)
    record = batch.add("Abend", 1)
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 80_000)
    record["outputs"].append(batch.put("song", "wav", "songs/abend.wav", sound.getvalue()))
    page = open_page(write_gallery(tmp_path, batch.records, ABOUT).as_uri())
    page.wait(COMPLETE)
    page.click("#rows .title")
    page.wait("document.querySelector('audio')")
    page.click(".side .play")
    page.wait("Gallery.player.playing")
    page.evaluate("document.querySelector('audio').play()")
    page.wait("!Gallery.player.on && !document.querySelector('audio').paused")
    page.click(".side .play")
    page.wait("Gallery.player.playing && document.querySelector('audio').paused")
    assert page.troubles == []
