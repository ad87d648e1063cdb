"use strict";
// What all parts of the page share: elements, numbers, and data that scripts bring.
const Gallery = {};

Gallery.kit = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const [COLUMNS, ROWS] = [48, 16]; // of a stamp
  const ICONS = {
    play: "M8 5.5v13l11-6.5z",
    pause: "M7 5h3.5v14H7zM13.5 5H17v14h-3.5z",
    up: "M12 6l6 8H6z",
    down: "M12 18l6-8H6z",
    sound: "M4 9.5v5h3.5L12 19V5L7.5 9.5zM15 8.5a5 5 0 0 1 0 7l1.2 1.2a6.7 6.7 0 0 0 0-9.4z",
  };

  // An element with its attributes and children. Text only ever becomes text: nothing
  // that a title holds is read as HTML.
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === "function") made.addEventListener(key, value);
      else made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  function drawing(name, attributes, ...children) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function icon(name) {
    const path = drawing("path", { d: ICONS[name] });
    return drawing("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, path);
  }

  function clock(seconds) {
    const whole = Math.max(Math.floor(seconds + 0.05), 0);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  }

  function spoken(seconds) {
    const whole = Math.round(seconds);
    const [minutes, rest] = [Math.floor(whole / 60), whole % 60];
    const told = `${rest} second${rest === 1 ? "" : "s"}`;
    return minutes ? `${minutes} minute${minutes === 1 ? "" : "s"} ${told}` : told;
  }

  const formatter = new Intl.NumberFormat("en");
  const figures = (number) => formatter.format(number);

  function count(number, one) {
    return `${figures(number)} ${one}${number === 1 ? "" : "s"}`;
  }

  function decimals(value) {
    return value === null || value === undefined ? "–" : value.toFixed(2);
  }

  function bytes(number) {
    if (typeof number !== "number") return "";
    if (number < 1000) return `${number} bytes`;
    const [scale, unit] = number < 1e6 ? [1e3, "kB"] : [1e6, "MB"];
    return `${(number / scale).toFixed(number / scale < 10 ? 1 : 0)} ${unit}`;
  }

  const LABELS = {
    scale_consistency: ["scale consistency", "scale"],
    pitch_class_entropy: ["pitch-class entropy, bits", "entropy"],
    groove_consistency: ["groove consistency", "groove"],
    polyphony_rate: ["polyphony rate", "polyphony"],
    empty_beat_rate: ["empty beats", "empty"],
  };

  function measure(name) {
    const [long, short] = LABELS[name] ?? [name.replaceAll("_", " "), name.split("_")[0]];
    return { long, short };
  }

  const VERDICTS = {
    original: "Original",
    copy: "Copy",
    unjudged: "Not judged",
    unchecked: "Not checked",
    failed: "Failed",
  };

  function chip(verdict, run) {
    const words = element("span", { class: `chip ${verdict}` }, VERDICTS[verdict]);
    const notes = typeof run === "number" ? count(run, "note") : "";
    return [words, element("span", { class: "run" }, notes)];
  }

  // The shape of a song as the strokes of a path, from the bits that the list holds.
  function strokes(packed) {
    const bits = atob(packed);
    const columns = bits.length / 2;
    let lines = "";
    for (let row = 0; row < ROWS; row += 1) {
      for (let column = 0, run = 0; column <= columns; column += 1) {
        const on = column < columns && (bits.charCodeAt(2 * column + (row >> 3)) >> (row & 7)) & 1;
        if (on) run += 1;
        else if (run) {
          lines += `M${column - run} ${ROWS - 0.5 - row}h${run}`;
          run = 0;
        }
      }
    }
    return lines;
  }

  function stamp(packed) {
    const viewBox = `0 0 ${COLUMNS} ${ROWS}`;
    const plain = { class: "stamp", viewBox, preserveAspectRatio: "none", "aria-hidden": "true" };
    return drawing("svg", plain, drawing("path", { d: packed ? strokes(packed) : "" }));
  }

  // Case and accents make no difference to a search.
  function folded(text) {
    return text
      .normalize("NFKD")
      .replace(/\p{M}+/gu, "")
      .toLowerCase();
  }

  return {
    element,
    icon,
    clock,
    spoken,
    figures,
    count,
    decimals,
    bytes,
    measure,
    VERDICTS,
    chip,
    strokes,
    stamp,
    folded,
  };
})();

// ---- data that scripts bring ----

(() => {
  const asked = new Map();
  const brought = new Map();

  Gallery.receive = (script, entries) => {
    for (const [key, entry] of Object.entries(entries)) brought.set(key, entry);
  };

  function add(source) {
    if (!asked.has(source)) {
      const promise = new Promise((resolve, reject) => {
        const failed = () => {
          asked.delete(source);
          reject(new Error(`${source} cannot be read; it belongs beside this page`));
        };
        const script = Gallery.kit.element("script", { src: source, load: resolve, error: failed });
        document.head.append(script);
      });
      asked.set(source, promise);
    }
    return asked.get(source);
  }

  // What a song's own view knows; its script is read when it is first asked for.
  Gallery.entry = async (song) => {
    if (!brought.has(song.key)) {
      const name = `gallery/data-${String(song.script).padStart(3, "0")}.js`;
      await add(name);
      if (!brought.has(song.key)) throw new Error(`${name} is of another gallery; load this page again`);
    }
    return brought.get(song.key);
  };

  Gallery.add = add;
})();

// A track as it sounds: notes in seconds, from the flat list in ticks.
Gallery.track = (() => {
  const TICKS = 24;
  const known = new WeakMap();
  return (raw) => {
    if (!raw) return null;
    if (!known.has(raw)) {
      const tick = 60 / raw.tempo / TICKS;
      const notes = [];
      let onset = 0;
      let seconds = 0;
      let [low, high] = [127, 0];
      for (let at = 0; at < raw.notes.length; at += 5) {
        const [step, duration, pitch, velocity, part] = raw.notes.slice(at, at + 5);
        onset += step;
        const note = { on: onset * tick, off: (onset + duration) * tick, pitch, velocity, part };
        notes.push(note);
        seconds = Math.max(seconds, note.off);
        [low, high] = [Math.min(low, pitch), Math.max(high, pitch)];
      }
      known.set(raw, { notes, seconds, bar: raw.bar * tick, low, high });
    }
    return known.get(raw);
  };
})();
