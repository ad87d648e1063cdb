"use strict";
// One song at a time: a clock, a synthesizer, and notes handed over a little ahead of it.
Gallery.player = (() => {
  const SYNTHESIZER = "gallery/webaudio-tinysynth.min.js";
  // Notes are handed to the audio clock this long before they sound, in seconds, so that
  // their rhythm does not hang on the page. Timers of a hidden page come once a second.
  const AHEAD = 0.35;
  const AHEAD_HIDDEN = 2.5;
  const EVERY = 90; // milliseconds
  const LEAD = 0.05; // from a press to the first sound, seconds
  const FADE = 40; // milliseconds
  const TAIL = 0.4; // in which the last note dies away, seconds
  const CHANNELS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15]; // 9 is percussion
  const ALL_SOUND_OFF = 120;

  const listeners = new Set();
  let audio = null; // { context, out }
  let synthesizer = null;
  let loaded = null; // { song, side, track }
  let playing = false;
  let waiting = false;
  let trouble = "";
  let volume = 0.8;
  let wish = 0; // counts what was asked for: only the last wish is granted
  // While it plays: the song was at `place` when the audio clock stood at `since`.
  let place = 0;
  let since = 0;
  let queue = []; // notes not yet handed over, from `next` on
  let next = 0;
  let ends = []; // ends of notes not yet handed over, the soonest first
  let timer = null;
  let quiet = Promise.resolve();

  const tell = () => listeners.forEach((listener) => listener());
  const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  // Inside the press of a button, for browsers let no page sound by itself.
  function wake() {
    if (!audio) {
      const context = new AudioContext();
      const out = context.createGain();
      out.gain.value = 0;
      out.connect(context.destination);
      audio = { context, out };
    }
    return audio.context.resume();
  }

  async function synthesize() {
    await Gallery.add(SYNTHESIZER);
    if (synthesizer) return;
    const log = console.log;
    console.log = () => {}; // it greets
    try {
      const made = new WebAudioTinySynth({ quality: 1, useReverb: 1, voices: 96 });
      made.getAudioContext().close(); // its own, which plays past our volume
      made.setAudioContext(audio.context, audio.out);
      synthesizer = made;
    } finally {
      console.log = log;
    }
  }

  function elapsed() {
    return place + audio.context.currentTime - since;
  }

  function position() {
    if (!playing) return place;
    const heard = elapsed() - (audio.context.outputLatency || 0);
    return Math.min(Math.max(heard, place), loaded.track.seconds);
  }

  function level(value, seconds) {
    const { gain } = audio.out;
    gain.cancelScheduledValues(audio.context.currentTime);
    gain.setTargetAtTime(value, audio.context.currentTime, seconds);
  }

  function handOver() {
    const until = elapsed() + (document.hidden ? AHEAD_HIDDEN : AHEAD);
    const moment = (seconds) => since + seconds - place;
    const end = ({ off, pitch, channel }) => synthesizer.send([0x80 + channel, pitch, 0], moment(off));
    for (; next < queue.length && queue[next].on < until; next += 1) {
      const { off, pitch, velocity, part } = queue[next];
      const on = Math.max(queue[next].on, place);
      const channel = CHANNELS[part % CHANNELS.length];
      // A pitch that is struck again ends first, or its end would silence the new one.
      while (ends.length && ends[0].off <= on) end(ends.shift());
      synthesizer.send([0x90 + channel, pitch, velocity], moment(on));
      let at = ends.length;
      while (at > 0 && ends[at - 1].off > off) at -= 1;
      ends.splice(at, 0, { off, pitch, channel });
    }
    while (ends.length && ends[0].off < until) end(ends.shift());
    if (elapsed() > loaded.track.seconds + TAIL) {
      halt();
      place = 0;
      tell();
    }
  }

  function run(from) {
    place = from;
    since = audio.context.currentTime + LEAD;
    queue = loaded.track.notes.filter((note) => note.off > from);
    next = 0;
    ends = [];
    playing = true;
    level(volume * volume, 0.008);
    handOver();
    if (playing) timer = setInterval(handOver, EVERY);
  }

  // Fades out, and takes back what the synthesizer was told ahead.
  function halt() {
    if (!playing) return;
    place = position();
    playing = false;
    clearInterval(timer);
    level(0, FADE / 5000);
    quiet = wait(FADE).then(() =>
      CHANNELS.forEach((channel) => synthesizer.send([0xb0 + channel, ALL_SOUND_OFF, 0])),
    );
  }

  // Plays a side of a song, "song" or "original", from a place or from where it was left.
  async function play(song, side, from = null) {
    const mine = (wish += 1);
    const awake = wake();
    const same = loaded && loaded.song === song && loaded.side === side;
    halt();
    const begin = from ?? (same ? place : 0);
    [waiting, trouble] = [true, ""];
    if (!same) [loaded, place] = [{ song, side, track: null }, begin];
    tell();
    try {
      const [entry] = await Promise.all([Gallery.entry(song), synthesize(), awake, quiet]);
      const track = Gallery.track(entry[side]);
      if (mine !== wish) return;
      if (!track) throw new Error("There is no MIDI file of this song to play.");
      loaded = { song, side, track };
      run(begin < track.seconds ? begin : 0);
    } catch (error) {
      if (mine === wish) trouble = error.message;
    }
    if (mine !== wish) return;
    waiting = false;
    tell();
  }

  function pause() {
    wish += 1;
    waiting = false;
    halt();
    tell();
  }

  function isCurrent(song, side) {
    return loaded !== null && loaded.song === song && loaded.side === side;
  }

  function toggle(song, side, from = null) {
    if ((playing || waiting) && isCurrent(song, side)) pause();
    else play(song, side, from);
  }

  function seek(seconds) {
    if (!loaded) return;
    if (playing || waiting) play(loaded.song, loaded.side, seconds);
    else {
      place = seconds;
      tell();
    }
  }

  function setVolume(value) {
    volume = value;
    if (playing) level(volume * volume, 0.02);
  }

  document.addEventListener("visibilitychange", () => playing && handOver());

  return {
    play,
    pause,
    toggle,
    seek,
    setVolume,
    position,
    isCurrent,
    isOn: (song, side) => (playing || waiting) && isCurrent(song, side),
    get playing() {
      return playing;
    },
    get on() {
      return playing || waiting;
    },
    get loaded() {
      return loaded;
    },
    get trouble() {
      return trouble;
    },
    listen: (listener) => listeners.add(listener),
  };
})();
