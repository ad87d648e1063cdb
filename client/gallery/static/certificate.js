"use strict";
// What a song shares with the training songs, and by what it can be made again.
Gallery.certificate = (() => {
  const { element, count, clock, decimals, measure, chip, stamp } = Gallery.kit;

  function quoted(title) {
    return element("q", { dir: "auto" }, title);
  }

  // The verdict as sentences.
  function sentences(song, entry) {
    const found = entry.originality;
    if (!found) {
      const reason = entry.unchecked ? ` (${entry.unchecked})` : "";
      return [
        `It was not held against the training songs${reason}, `,
        "so nothing can be said of its originality.",
      ];
    }
    const told = [];
    if (typeof found.run !== "number" || found.run < 2) {
      told.push("No two notes in a row stand in a training song.");
    } else {
      told.push(
        `The longest run of notes that also stands in a training song, in any key, has ${count(found.run, "note")}`,
      );
      if (found.bar !== null) told.push(` and begins in bar ${found.bar}`);
      if (found.title) {
        told.push("; it stands in ", quoted(found.title));
        if (found.source_bar !== null) told.push(`, bar ${found.source_bar}`);
      }
      told.push(". ");
    }
    if (found.bound === null) {
      told.push(" There are too few of the composer’s songs to say how usual that is.");
      return told;
    }
    if (found.percentile !== null) {
      told.push(
        ` ${Math.round(found.percentile)} of 100 of the composer’s own songs share a shorter run with each other.`,
      );
    }
    told.push(
      found.is_copy
        ? ` More than ${count(found.bound, "note")} is more than the composer’s songs share: this song is a copy.`
        : ` Up to ${count(found.bound, "note")} is what the composer’s songs share with each other.`,
    );
    return told;
  }

  // The run as a length, against the bound.
  function gauge(found) {
    if (!found || found.bound === null || typeof found.run !== "number") return null;
    const full = Math.max(found.run, found.bound) * 1.15;
    const bar = element("span", { class: `bar ${found.is_copy ? "copy" : "original"}` });
    const bound = element("span", { class: "bound" });
    bar.style.width = `${(100 * found.run) / full}%`;
    bound.style.left = `${(100 * found.bound) / full}%`;
    return element(
      "div",
      { class: "gauge" },
      element(
        "div",
        { class: "scale", role: "img", "aria-label": `${found.run} notes, of ${found.bound} that are usual` },
        bar,
        bound,
      ),
      element(
        "p",
        { class: "quiet" },
        `Longest copied run: ${count(found.run, "note")}. The line: bound, ${count(found.bound, "note")}.`,
      ),
    );
  }

  function words(value) {
    if (value === null || value === undefined) return "";
    if (Array.isArray(value)) return value.map(words).filter(Boolean).join(", ");
    if (typeof value === "object") {
      return Object.entries(value)
        .map(([name, inner]) => [name.replaceAll("_", " "), words(inner)])
        .filter(([, inner]) => inner)
        .map((pair) => pair.join(" "))
        .join(", ");
    }
    return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
  }

  function facts(song, entry) {
    const file = entry.outputs.find(({ role, format }) => role === "song" && format === "midi");
    const { sha256: weights, ...model } = entry.model ?? {};
    const goesOn = entry.prime
      ? `goes on from ${count(entry.prime.length, "event")} of the source, the first of which is number ${entry.prime.offset}`
      : "from nothing";
    const lengths = [
      song.notes === null ? null : count(song.notes, "note"),
      song.bars === null ? null : count(song.bars, "bar"),
      song.seconds === null ? null : clock(song.seconds),
    ];
    const measured = Gallery.index.measures
      .map((name, place) => `${measure(name).long} ${decimals(song.measures[place])}`)
      .join("; ");
    return [
      ["New song", file?.name, ""],
      ["its SHA-256", file?.sha256, "hash"],
      ["Length", lengths.filter(Boolean).join(", "), ""],
      ["Measures", measured, ""],
      ["Flags", song.flags.join("; "), ""],
      ["Source", song.source, ""],
      ["its SHA-256", entry.source_sha256, "hash"],
      ["Begins", goesOn, ""],
      ["Model", [model.name, model.version && `version ${model.version}`].filter(Boolean).join(", "), ""],
      ["its SHA-256", weights, "hash"],
      ["Seed", words(entry.seed), ""],
      ["Settings", words(entry.settings), ""],
      ["Identity", entry.identity, "hash"],
    ].filter(([, value]) => value);
  }

  function listed(song, entry) {
    const list = element("dl", {});
    for (const [label, value, kind] of facts(song, entry)) {
      list.append(element("dt", {}, label), element("dd", { class: kind || null, dir: "auto" }, value));
    }
    return list;
  }

  // What a song that could not be made was to be made of.
  function failed(song, entry) {
    return element("section", {}, element("h3", {}, "What was asked for"), listed(song, entry));
  }

  function make(song, entry) {
    const file = entry.outputs.find(({ role, format }) => role === "song" && format === "midi");
    return element(
      "section",
      { class: "certificate", "aria-labelledby": "certificate-head" },
      element(
        "header",
        {},
        element("h3", { id: "certificate-head" }, "Certificate of originality"),
        element("p", { class: "subject", dir: "auto" }, song.title),
        element("p", { class: "verdict" }, ...chip(song.verdict, null)),
        song.stamp ? stamp(song.stamp) : null,
      ),
      element("p", { class: "finding" }, ...sentences(song, entry)),
      gauge(entry.originality),
      listed(song, entry),
      file
        ? element(
            "p",
            { class: "quiet" },
            "The file is the one that was judged if ",
            element("code", {}, "sha256sum"),
            " prints its SHA-256. The identity is the SHA-256 of source, model, seed and settings: the same of these make the same song.",
          )
        : null,
      element(
        "button",
        { type: "button", class: "print", click: () => window.print() },
        "Print the certificate",
      ),
    );
  }

  return { make, failed };
})();
