"use strict";
// A song's own view: both rolls, the score, the certificate, the files.
Gallery.song = (() => {
  const { element, icon, clock, bytes, chip } = Gallery.kit;
  const { player } = Gallery;
  const SIDES = { song: "The new song", original: "The original" };
  const NAMES = {
    midi: "MIDI",
    roll: "Piano roll",
    musicxml: "MusicXML",
    svg: "Score, SVG",
    png: "Score, PNG",
    pdf: "Score, PDF",
    wav: "Recording, WAV",
  };
  const PICTURES = ["svg", "png"];

  const view = document.getElementById("song");
  let shown = null; // { song, sides: Map(side -> { roll, button, place }) }
  let frame = null;

  function link(href, text, more = {}) {
    return element("a", { href, ...more }, text);
  }

  // ---- listening ----

  function rollMarks(song, entry, side) {
    const found = entry.originality;
    if (!found || found.run < 2) return [];
    if (side === "song")
      return found.bar ? [{ bar: found.bar, words: `copied run, ${found.run} notes` }] : [];
    // The run may stand in another of the training songs.
    const name = song.source.replace(/\.[^./]*$/, "");
    const here = [song.title, song.source, name, name.replace(/^.*\//, "")];
    const stands = found.source_bar && here.includes(found.title);
    return stands ? [{ bar: found.source_bar, words: "stands here" }] : [];
  }

  function listening(song, entry) {
    const tracks = Object.keys(SIDES).map((side) => [side, Gallery.track(entry[side])]);
    const there = tracks.filter(([, track]) => track).map(([, track]) => track);
    const range = {
      low: Math.max(Math.min(...there.map(({ low }) => low)) - 2, 0),
      high: Math.min(Math.max(...there.map(({ high }) => high)) + 2, 127),
    };
    const parts = [];
    for (const [side, track] of tracks) {
      if (!track) {
        parts.push(element("p", { class: "quiet" }, `${SIDES[side]}: no MIDI file was kept.`));
        continue;
      }
      const point = (seconds) => player.play(song, side, seconds);
      const roll = Gallery.roll.make(track, SIDES[side], range, rollMarks(song, entry, side), point);
      const button = element("button", {
        type: "button",
        class: "play wide",
        click: () => player.toggle(song, side),
      });
      const place = element("span", { class: "place quiet" }, clock(track.seconds));
      shown.sides.set(side, { roll, button, place, track });
      parts.push(
        element(
          "div",
          { class: "side" },
          element("div", { class: "side-head" }, button, element("h4", {}, SIDES[side]), place),
          roll.element,
        ),
      );
    }
    return element(
      "section",
      { class: "listening" },
      element("h3", { class: "hidden" }, "Listen"),
      ...parts,
      element("p", { class: "quiet" }, "Both on the same instrument. Press a roll to play from there."),
    );
  }

  function refresh() {
    if (!shown) return;
    const { song } = shown;
    for (const [side, { roll, button, place, track }] of shown.sides) {
      const on = player.isOn(song, side);
      if (button.dataset.on !== String(on)) {
        button.dataset.on = String(on);
        button.replaceChildren(icon(on ? "pause" : "play"), on ? "Pause" : "Play");
        button.setAttribute("aria-label", `${on ? "Pause" : "Play"} ${SIDES[side].toLowerCase()}`);
      }
      const current = player.isCurrent(song, side);
      const at = current ? player.position() : null;
      roll.show(at && (at > 0 || player.playing) ? at : null, current && player.playing);
      place.textContent = current ? `${clock(at)} / ${clock(track.seconds)}` : clock(track.seconds);
    }
    cancelAnimationFrame(frame);
    if (player.playing && player.loaded.song === song) frame = requestAnimationFrame(refresh);
  }

  // ---- the score and the files ----

  function score(song, entry) {
    const kind = PICTURES.find((format) =>
      entry.outputs.some((output) => output.role === "song" && output.format === format),
    );
    if (!kind) return null;
    const pages = entry.outputs.filter(({ role, format }) => role === "song" && format === kind);
    return element(
      "section",
      { class: "score" },
      element("h3", {}, "Score"),
      element(
        "div",
        { class: "pages" },
        ...pages.map(({ href }, page) =>
          element("img", {
            src: href,
            loading: "lazy",
            decoding: "async",
            alt: `Score of ${song.title}, page ${page + 1} of ${pages.length}`,
          }),
        ),
      ),
    );
  }

  function recording({ href }) {
    // Plays by itself, and never together with the synthesizer.
    return element("audio", {
      src: href,
      controls: true,
      preload: "none",
      "aria-label": "Recording of the new song",
      play: () => player.pause(),
    });
  }

  function files(entry) {
    const rows = entry.outputs.map((output) => {
      const whose = output.role === "original" ? ", the original" : "";
      const name = link(output.href, `${NAMES[output.format] ?? output.format}${whose}`, {
        download: output.name,
      });
      return element(
        "li",
        {},
        name,
        element("span", { class: "quiet", dir: "auto" }, ` ${output.name} ${bytes(output.bytes)}`),
      );
    });
    const wav = entry.outputs.find(({ role, format }) => role === "song" && format === "wav");
    if (!rows.length) return null;
    return element(
      "section",
      { class: "files" },
      element("h3", {}, "Files"),
      wav ? recording(wav) : null,
      element("ul", {}, ...rows),
    );
  }

  // ---- the view ----

  function head(song) {
    const { wanted } = Gallery.list;
    const place = wanted.indexOf(song);
    const step = (to, words, symbol) => {
      const other = place < 0 ? null : wanted[place + to];
      return other
        ? link(Gallery.list.address(other), `${words} ${symbol}`, { class: "step", title: other.title })
        : null;
    };
    return [
      element(
        "nav",
        { "aria-label": "Songs" },
        link(Gallery.list.address(null), "All songs", { class: "back" }),
        element("span", { class: "steps" }, step(-1, "Previous", "↑"), step(1, "Next", "↓")),
      ),
      element("h2", { tabindex: "-1", dir: "auto" }, song.title),
      element("p", { class: "quiet", dir: "auto" }, [song.composer, song.source].filter(Boolean).join(" · ")),
      element(
        "p",
        { class: "verdict" },
        ...chip(song.verdict, song.run),
        ...song.flags.map((flag) => element("span", { class: "flag", dir: "auto" }, flag)),
      ),
    ];
  }

  function close() {
    cancelAnimationFrame(frame);
    shown?.sides.forEach(({ roll }) => roll.remove());
    shown = null;
    view.replaceChildren();
  }

  async function open(song) {
    close();
    const mine = (shown = { song, sides: new Map() });
    view.append(...head(song));
    let entry = null;
    try {
      entry = await Gallery.entry(song);
    } catch (error) {
      if (shown === mine) view.append(element("p", { class: "error", role: "alert" }, `${error.message}.`));
      return;
    }
    if (shown !== mine) return;
    if (song.verdict === "failed") {
      view.append(
        element(
          "p",
          { class: "error" },
          `This song could not be made: ${song.error || "no reason was given"}`,
        ),
      );
      view.append(Gallery.certificate.failed(song, entry));
      return;
    }
    view.append(
      ...[
        listening(song, entry),
        score(song, entry),
        Gallery.certificate.make(song, entry),
        files(entry),
      ].filter(Boolean),
    );
    refresh();
  }

  player.listen(refresh);
  return {
    open,
    close,
    SIDES,
    get shown() {
      return shown?.song ?? null;
    },
  };
})();
