"use strict";
// The list: what is sought, in which order, and a row for each song.
Gallery.list = (() => {
  const { element, icon, clock, figures, count, decimals, measure, VERDICTS, chip, strokes, stamp, folded } =
    Gallery.kit;
  const { songs, measures } = Gallery.index;
  const FIRST = 40; // rows before the first picture; the rest follow in pieces
  const PIECE = 240;

  const find = (id) => document.getElementById(id);
  const names = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  songs.forEach((song, place) => Object.assign(song, { place, row: null, words: null }));
  const of = new WeakMap(); // the song of a row
  const byKey = new Map(songs.map((song) => [song.key, song]));

  const SORTS = new Map([
    ["catalogue", { label: "order of the catalogue", value: (song) => song.place }],
    ["title", { label: "title", value: (song) => song.title, words: true }],
    ["source", { label: "file", value: (song) => song.source, words: true }],
    ["originality", { label: "copied run, notes", value: (song) => song.run }],
    ["seconds", { label: "duration", value: (song) => song.seconds }],
    ["notes", { label: "notes", value: (song) => song.notes }],
    ["bars", { label: "bars", value: (song) => song.bars }],
  ]);
  measures.forEach((name, place) => {
    SORTS.set(name, { label: measure(name).long, value: (song) => song.measures[place] });
  });

  const FILTERS = new Map([
    ["all", { label: "All", keep: () => true }],
    ["original", { label: "Original", keep: (song) => song.verdict === "original" }],
    ["copies", { label: "Copies", keep: (song) => song.verdict === "copy" }],
    ["flagged", { label: "Flagged", keep: (song) => song.flags.length > 0 }],
    [
      "unchecked",
      {
        label: "Not judged",
        keep: (song) => song.verdict === "unchecked" || song.verdict === "unjudged",
      },
    ],
    ["failed", { label: "Failed", keep: (song) => song.verdict === "failed" }],
  ]);

  let state = null; // { query, only, sort, down }
  let wanted = [];
  let turn = 0;

  // ---- which songs, in which order ----

  function sought({ query, only, sort, down }) {
    const words = folded(query).split(/\s+/).filter(Boolean);
    const keep = FILTERS.get(only).keep;
    const found = songs.filter((song) => {
      if (!keep(song)) return false;
      song.words ??= folded(`${song.title}\n${song.source}\n${song.composer}`);
      return words.every((word) => song.words.includes(word));
    });
    const { value, words: text } = SORTS.get(sort);
    const way = down ? -1 : 1;
    const absent = (one) => one === null || one === "";
    return found.sort((a, b) => {
      const [one, other] = [value(a), value(b)];
      // What has no value comes last, whichever way the others go.
      if (absent(one) || absent(other)) return absent(one) - absent(other) || a.place - b.place;
      return way * (text ? names.compare(one, other) : one - other) || a.place - b.place;
    });
  }

  // ---- rows ----

  function cell(kind, ...children) {
    return element("span", { role: "cell", class: kind }, ...children);
  }

  // A row without a song: copies of it are made ten times faster than rows.
  const blank = element(
    "div",
    { role: "row", class: "row" },
    cell("listen", element("button", { type: "button", class: "play" }, icon("play"), icon("pause"))),
    cell("picture", stamp("")),
    cell(
      "name",
      element("a", { class: "title", dir: "auto" }),
      element("span", { class: "source", dir: "auto" }),
    ),
    cell("verdict", ...chip("original", null)),
    ...measures.map((name) => cell("value", element("span", { class: "label" }, measure(name).short), "–")),
    cell("time"),
  );

  function makeRow(song) {
    const row = blank.cloneNode(true);
    const [listen, picture, name, judged, ...values] = row.children;
    const [link, source] = name.children;
    const [verdict, run] = judged.children;
    const time = values.pop();
    const failed = song.verdict === "failed";
    const button = failed ? null : listen.firstChild;
    link.textContent = song.title;
    source.textContent = song.source;
    verdict.textContent = VERDICTS[song.verdict];
    verdict.className = `chip ${song.verdict}`;
    if (song.run !== null) run.textContent = count(song.run, "note");
    if (song.stamp) picture.firstChild.firstChild.setAttribute("d", strokes(song.stamp));
    else picture.replaceChildren();
    if (failed) {
      listen.replaceChildren();
      name.append(element("span", { class: "error", dir: "auto" }, song.error));
    }
    name.append(...song.flags.map((flag) => element("span", { class: "flag", dir: "auto" }, flag)));
    values.forEach((value, place) => (value.lastChild.data = decimals(song.measures[place])));
    time.textContent = failed || song.seconds === null ? "–" : clock(song.seconds);
    song.row = { element: row, button, link };
    of.set(row, song);
    mark(song);
    return row;
  }

  function mark(song) {
    if (!song.row?.button) return;
    const on = Gallery.player.isOn(song, "song");
    const { element: row, button } = song.row;
    if (row.dataset.on === String(on)) return;
    row.dataset.on = String(on);
    button.setAttribute("aria-label", `${on ? "Pause" : "Play"} ${song.title}`);
  }

  find("rows").addEventListener("click", (event) => {
    const song = of.get(event.target.closest(".row"));
    if (!song) return;
    if (event.target.closest("button")) Gallery.player.toggle(song, "song");
    else if (event.target.closest("a")) open(event, song);
  });

  // Rows come in pieces, so that the first are there at once, however many there are.
  function fill() {
    const mine = (turn += 1);
    const rows = find("rows");
    let at = 0;
    function more(until) {
      const piece = document.createDocumentFragment();
      for (; at < Math.min(until, wanted.length); at += 1) {
        const song = wanted[at];
        const row = song.row ? song.row.element : makeRow(song);
        song.row.link.setAttribute("href", address(song));
        row.setAttribute("aria-rowindex", at + 2);
        piece.append(row);
      }
      rows.append(piece);
    }
    rows.replaceChildren();
    more(FIRST);
    return new Promise((resolve) => {
      function next() {
        if (mine !== turn || at >= wanted.length) return resolve(mine === turn);
        more(at + PIECE);
        return setTimeout(next);
      }
      setTimeout(next);
    });
  }

  // ---- what the address says ----

  function address(song) {
    const told = new URLSearchParams();
    if (state.query) told.set("q", state.query);
    if (state.only !== "all") told.set("only", state.only);
    if (state.sort !== "catalogue") told.set("sort", state.sort);
    if (state.down) told.set("down", "");
    if (song) told.set("song", song.key);
    return `#${told.toString().replace(/=(?=&|$)/g, "")}`;
  }

  function read() {
    const told = new URLSearchParams(location.hash.slice(1));
    const known = (name, choices, usual) => (choices.has(told.get(name)) ? told.get(name) : usual);
    return {
      query: told.get("q") ?? "",
      only: known("only", FILTERS, "all"),
      sort: known("sort", SORTS, "catalogue"),
      down: told.has("down"),
      song: told.get("song"),
    };
  }

  function open(event, song) {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    location.hash = address(song);
  }

  // ---- controls ----

  function change(changes) {
    state = { ...state, ...changes };
    history.replaceState(
      null,
      "",
      address(null) === "#" ? location.pathname + location.search : address(null),
    );
    update();
  }

  function order(name) {
    const same = state.sort === name;
    change({ sort: name, down: same ? !state.down : false });
  }

  function makeControls() {
    find("query").addEventListener("input", (event) => change({ query: event.target.value }));
    find("controls").addEventListener("submit", (event) => event.preventDefault());
    find("sort").append(...[...SORTS].map(([name, { label }]) => element("option", { value: name }, label)));
    find("sort").addEventListener("change", (event) => change({ sort: event.target.value, down: false }));
    find("direction").addEventListener("click", () => change({ down: !state.down }));
    for (const [name, { label, keep }] of FILTERS) {
      const many = songs.filter(keep).length;
      if (!many && name !== "all") continue;
      const input = element("input", {
        type: "radio",
        name: "only",
        value: name,
        change: () => change({ only: name }),
      });
      const number = element("span", { class: "many" }, figures(many));
      find("filters").append(element("label", { class: "filter" }, input, `${label} `, number));
    }
    const heading = (kind, name, label) => {
      const button = name
        ? element("button", { type: "button", "data-sort": name, click: () => order(name) }, label)
        : element("span", { class: "hidden" }, label);
      return element("span", { role: "columnheader", class: kind }, button);
    };
    find("head").append(
      element(
        "div",
        { role: "row", class: "row head" },
        heading("listen", null, "Listen"),
        heading("picture", null, "Shape"),
        heading("name", "title", "Title"),
        heading("verdict", "originality", "Originality"),
        ...measures.map((name) => heading("value", name, measure(name).short)),
        heading("time", "seconds", "Time"),
      ),
    );
    find("songs").style.setProperty("--measures", measures.length);
  }

  function showControls() {
    const { query, only, sort, down } = state;
    if (find("query").value !== query) find("query").value = query;
    find("sort").value = sort;
    find("direction").replaceChildren(icon(down ? "down" : "up"));
    find("direction").setAttribute("aria-label", `${down ? "Descending" : "Ascending"}; turn round`);
    for (const input of document.querySelectorAll("#filters input")) input.checked = input.value === only;
    for (const button of document.querySelectorAll("#head button")) {
      const on = button.dataset.sort === sort;
      const way = down ? "descending" : "ascending";
      button.parentElement.setAttribute("aria-sort", on ? way : "none");
      button.dataset.way = on ? way : "";
    }
    const place = measures.indexOf(sort);
    find("songs").dataset.value = place < 0 ? "" : String(Math.min(place, 11));
    find("songs").setAttribute("aria-rowcount", wanted.length + 1);
    const all = wanted.length === songs.length;
    find("count").textContent = wanted.length
      ? `${all ? "" : `${figures(wanted.length)} of `}${count(songs.length, "song")}`
      : "No song is like that.";
  }

  function update() {
    wanted = sought(state);
    showControls();
    return fill();
  }

  // Takes the state over from the address; true once all rows are there.
  function restore() {
    const { song, ...others } = read();
    const same = state && Object.keys(others).every((name) => others[name] === state[name]);
    state = others;
    return same ? Promise.resolve(true) : update();
  }

  Gallery.player.listen(() => songs.forEach((song) => song.row && mark(song)));
  makeControls();
  return {
    restore,
    read,
    address,
    byKey,
    get wanted() {
      return wanted;
    },
  };
})();
