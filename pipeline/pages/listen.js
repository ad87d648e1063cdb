"use strict";
// A pair of excerpts at a time, a plain synthesizer, and the answers as a file.
const { test, pairs } = JSON.parse(document.getElementById("test").textContent);
const answers = pairs.map(() => null);
// So that answers that are saved twice count once.
const page = Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join("-");
let audio = null;
let sounding = null;

function stop() {
  if (sounding === null) return;
  clearTimeout(sounding.ends);
  sounding.out.disconnect();
  sounding.button.textContent = sounding.label;
  sounding = null;
}

// Each note a triangle wave that is struck and dies away, all alike loud.
function play(notes, button) {
  const again = sounding !== null && sounding.button === button;
  stop();
  if (again) return;
  audio ??= new AudioContext();
  audio.resume();
  const out = audio.createDynamicsCompressor();
  out.connect(audio.destination);
  const begin = audio.currentTime + 0.1;
  let end = 0;
  for (const [onset, duration, pitch] of notes) {
    const wave = audio.createOscillator();
    const level = audio.createGain();
    const at = begin + onset;
    wave.type = "triangle";
    wave.frequency.value = 440 * 2 ** ((pitch - 69) / 12);
    level.gain.setValueAtTime(0, at);
    level.gain.linearRampToValueAtTime(0.18, at + 0.01);
    level.gain.exponentialRampToValueAtTime(0.06, at + Math.max(duration, 0.02));
    level.gain.linearRampToValueAtTime(0, at + duration + 0.12);
    wave.connect(level).connect(out);
    wave.start(at);
    wave.stop(at + duration + 0.15);
    end = Math.max(end, onset + duration);
  }
  sounding = { button, out, label: button.textContent, ends: setTimeout(stop, 1000 * (end + 0.4)) };
  button.textContent = "Stop";
}

function tell() {
  const left = answers.filter((answer) => answer === null).length;
  document.getElementById("save").disabled = left === pairs.length;
  document.getElementById("left").textContent = left ? `${left} of ${pairs.length} to go` : "All answered.";
}

function element(name, parent, properties) {
  return parent.appendChild(Object.assign(document.createElement(name), properties));
}

pairs.forEach((pair, place) => {
  const field = element("fieldset", document.getElementById("pairs"), {});
  element("legend", field, { textContent: `Pair ${place + 1} of ${pairs.length}` });
  for (const side of ["a", "b"]) {
    const button = element("button", field, { type: "button", textContent: `Play ${side.toUpperCase()}` });
    button.addEventListener("click", () => play(pair[side], button));
  }
  element("br", field, {});
  for (const side of ["a", "b"]) {
    const label = element("label", field, {});
    const choice = element("input", label, { type: "radio", name: `pair-${place}`, value: side });
    label.append(` ${side.toUpperCase()} is the composer's`);
    choice.addEventListener("change", () => {
      answers[place] = side;
      tell();
    });
  }
});

document.getElementById("save").addEventListener("click", () => {
  const listener = document.getElementById("listener").value;
  const text = JSON.stringify({ test, page, listener, answers });
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const name = listener.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "") || "listener";
  element("a", document.body, { href: url, download: `answers-${name}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
});
tell();
