"use strict";
// A piano roll that scrolls sideways and follows the playing.
Gallery.roll = (() => {
  const { element, count, clock } = Gallery.kit;
  const PACE = 26; // pixels a second at least; a song that fits is as wide as the page
  const ROW = { least: 3.5, most: 9 };
  const TALLEST = 230;
  const LABELS = 16; // pixels above the notes, for the numbers of bars
  const MARGIN = 28; // pixels left of the notes, for the names of pitches
  const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
  const BLACK = new Set([1, 3, 6, 8, 10]);
  const PARTS = 6;
  const FREE = 4000; // milliseconds for which who scrolls by hand is left alone
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const shown = new Set();
  let colours = null;

  function palette() {
    if (!colours) {
      const style = getComputedStyle(document.documentElement);
      const get = (name) => style.getPropertyValue(name).trim();
      colours = {
        ground: get("--ground"),
        row: get("--black-row"),
        line: get("--grid"),
        strong: get("--line"),
        text: get("--quiet"),
        mark: get("--c5"),
        parts: Array.from({ length: PARTS }, (_, part) => get(`--c${part}`)),
      };
    }
    return colours;
  }

  dark.addEventListener("change", () => {
    colours = null;
    shown.forEach((roll) => roll.draw());
  });

  function pitchName(pitch) {
    return `${NAMES[pitch % 12]}${Math.floor(pitch / 12) - 1}`;
  }

  // Args: the track; what to call it; the pitches to show; bars to mark ({ bar, words });
  // what to do when a moment of it is pointed at.
  function make(track, name, { low, high }, marks, point) {
    const rows = high - low + 1;
    const row = Math.min(Math.max(TALLEST / rows, ROW.least), ROW.most);
    const height = Math.round(rows * row) + LABELS;
    const told = marks.map(({ bar, words }) => `; ${words} in bar ${bar}`).join("");
    const canvas = element("canvas", {
      role: "img",
      "aria-label":
        `Piano roll of ${name}: ${count(track.notes.length, "note")} from ` +
        `${pitchName(track.low)} to ${pitchName(track.high)} in ${clock(track.seconds)}${told}`,
    });
    const head = element("div", { class: "playhead", hidden: true });
    const room = element("div", { class: "room" }, canvas, head);
    const scroller = element(
      "div",
      { class: "roll", tabindex: "0", role: "region", "aria-label": `${name}, scrolls sideways` },
      room,
    );
    scroller.style.height = `${height}px`;
    const scale = { width: 0, pace: PACE, at: null };
    let handled = 0; // until when the reader has taken the roll into their own hands

    function measure() {
      const width = scroller.clientWidth;
      const wanted = Math.max((width - MARGIN) / Math.max(track.seconds, 1), PACE);
      if (!width || (width === scale.width && wanted === scale.pace)) return;
      [scale.width, scale.pace] = [width, wanted];
      room.style.width = `${Math.max(MARGIN + Math.floor(track.seconds * wanted), width)}px`;
      const sharp = Math.min(devicePixelRatio || 1, 2);
      canvas.width = Math.round(width * sharp);
      canvas.height = Math.round(height * sharp);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      draw();
    }

    function draw() {
      if (!scale.width) return;
      const { ground, row: shade, line, strong, text, mark, parts } = palette();
      const paint = canvas.getContext("2d");
      const sharp = canvas.width / scale.width;
      paint.setTransform(sharp, 0, 0, sharp, 0, 0);
      paint.clearRect(0, 0, scale.width, height);
      const begin = scroller.scrollLeft / scale.pace;
      const end = begin + scale.width / scale.pace;
      const x = (seconds) => MARGIN + (seconds - begin) * scale.pace;
      const y = (pitch) => LABELS + (high - pitch) * row;
      for (let pitch = low; pitch <= high; pitch += 1) {
        if (BLACK.has(pitch % 12)) {
          paint.fillStyle = shade;
          paint.fillRect(0, y(pitch), scale.width, row);
        }
      }
      paint.font = "11px system-ui, sans-serif";
      let every = 1;
      while (track.bar * every * scale.pace < 34) every *= 2;
      // Where words stand, there is no room for a number.
      const taken = marks.map(({ bar, words }) => {
        const from = x((bar - 1) * track.bar);
        return [from - 24, from + paint.measureText(words).width + 8];
      });
      const free = (at) => taken.every(([from, to]) => at < from || at > to);
      for (let bar = Math.floor(begin / track.bar); bar * track.bar < end; bar += 1) {
        if (bar % every) continue;
        paint.fillStyle = line;
        paint.fillRect(Math.round(x(bar * track.bar)), LABELS, 1, height);
        paint.fillStyle = text;
        const at = x(bar * track.bar) + 3;
        if (free(at)) paint.fillText(String(bar + 1), at, 11);
      }
      for (const { on, off, pitch, velocity, part } of track.notes) {
        if (on > end) break;
        if (off < begin) continue;
        const now = scale.at !== null && on <= scale.at && scale.at < off;
        paint.globalAlpha = now ? 1 : 0.4 + (0.5 * velocity) / 127;
        paint.fillStyle = parts[part % PARTS];
        const grow = now ? 1 : 0;
        const wide = Math.max((off - on) * scale.pace - 1, 1.5);
        paint.beginPath();
        paint.roundRect(x(on) - grow, y(pitch) + 0.5 - grow, wide + 2 * grow, row - 1 + 2 * grow, 2);
        paint.fill();
      }
      paint.globalAlpha = 1;
      for (const { bar, words } of marks) {
        const at = Math.round(x((bar - 1) * track.bar));
        paint.fillStyle = mark;
        paint.fillRect(at, 0, 2, height);
        paint.fillText(words, at + 5, 11);
      }
      paint.fillStyle = ground;
      paint.fillRect(0, 0, MARGIN - 2, height);
      paint.fillStyle = text;
      for (let pitch = low; pitch <= high; pitch += 1) {
        if (pitch % 12 === 0 && y(pitch) > LABELS)
          paint.fillText(pitchName(pitch), 3, y(pitch) + row / 2 + 4);
      }
      paint.fillStyle = strong;
      paint.fillRect(0, LABELS, scale.width, 1);
    }

    // Keeps the playhead in sight: by turning pages for who wants no motion.
    function follow(seconds) {
      const place = MARGIN + seconds * scale.pace;
      const seen = place - scroller.scrollLeft;
      if (calm.matches) {
        if (seen < MARGIN || seen > scale.width * 0.95) scroller.scrollLeft = place - 2 * MARGIN;
      } else {
        scroller.scrollLeft = place - scale.width * 0.35;
      }
    }

    function show(seconds, moving) {
      scale.at = seconds;
      head.hidden = seconds === null;
      if (seconds !== null) {
        head.style.transform = `translateX(${MARGIN + seconds * scale.pace}px)`;
        if (moving && performance.now() > handled) follow(seconds);
      }
      draw();
    }

    scroller.addEventListener("scroll", draw, { passive: true });
    for (const touch of ["wheel", "touchmove", "keydown", "pointerdown"]) {
      scroller.addEventListener(touch, () => (handled = performance.now() + FREE), { passive: true });
    }
    room.addEventListener("click", (event) => {
      const across = event.clientX - room.getBoundingClientRect().left - MARGIN;
      const seconds = Math.max(across / scale.pace, 0);
      if (seconds < track.seconds) point(seconds);
    });
    const watch = new ResizeObserver(measure);
    watch.observe(scroller);
    const roll = {
      draw,
      show,
      element: scroller,
      remove: () => {
        watch.disconnect();
        shown.delete(roll);
      },
    };
    shown.add(roll);
    return roll;
  }

  return { make };
})();
