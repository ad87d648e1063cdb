"use strict";
// The page as a whole: which view is shown, the player's bar, the keyboard.
(() => {
  const { icon, clock, spoken } = Gallery.kit;
  const { player, list, song: view } = Gallery;
  const find = (id) => document.getElementById(id);
  const title = document.title;
  let left = 0; // how far the list was scrolled when a song was opened
  let last = null;

  // ---- views ----

  async function show() {
    const filled = list.restore();
    const { song: key } = list.read();
    const song = list.byKey.get(key);
    if (song) {
      if (!view.shown && last === null) left = scrollY;
      find("overview").hidden = true;
      find("song").hidden = false;
      document.title = `${song.title} – ${title}`;
      last = song;
      const opened = view.open(song);
      scrollTo(0, 0);
      find("song").querySelector("h2").focus({ preventScroll: true });
      await opened;
    } else {
      const from = last;
      last = null;
      view.close();
      find("song").hidden = true;
      find("overview").hidden = false;
      document.title = title;
      if (from) {
        await filled;
        scrollTo(0, left);
        from.row?.link.focus({ preventScroll: true });
      }
    }
    await filled;
  }

  // ---- the player's bar ----

  let dragged = false;
  let next = null;

  function bar() {
    const { loaded, on, trouble } = player;
    if (!loaded) return;
    find("player").hidden = false;
    document.body.classList.add("with-player");
    if (find("toggle").dataset.on !== String(on)) {
      find("toggle").dataset.on = String(on);
      find("toggle").replaceChildren(icon(on ? "pause" : "play"));
      find("toggle").setAttribute("aria-label", on ? "Pause" : "Play");
    }
    const name = find("now-title");
    if (name.textContent !== loaded.song.title) name.textContent = loaded.song.title;
    name.setAttribute("href", list.address(loaded.song));
    find("now-side").textContent = trouble || view.SIDES[loaded.side].toLowerCase();
    find("now-side").classList.toggle("error", Boolean(trouble));
    clockOf(player.position());
    clearTimeout(next);
    // Four times a second is as often as figures can be read.
    if (player.playing) next = setTimeout(bar, 250);
  }

  function clockOf(seconds) {
    const whole = player.loaded.track?.seconds ?? player.loaded.song.seconds ?? 0;
    const seek = find("seek");
    seek.max = whole.toFixed(1);
    if (!dragged) seek.value = seconds;
    seek.setAttribute(
      "aria-valuetext",
      `${spoken(dragged ? seek.valueAsNumber : seconds)} of ${spoken(whole)}`,
    );
    find("time").textContent = `${clock(dragged ? seek.valueAsNumber : seconds)} / ${clock(whole)}`;
  }

  find("toggle").addEventListener("click", () => player.toggle(player.loaded.song, player.loaded.side));
  find("seek").addEventListener("input", () => {
    dragged = true;
    clockOf(player.position());
  });
  find("seek").addEventListener("change", (event) => {
    dragged = false;
    player.seek(event.target.valueAsNumber);
  });
  find("volume").addEventListener("input", (event) => player.setVolume(event.target.valueAsNumber));
  find("volume").previousElementSibling.prepend(icon("sound"));
  player.listen(bar);
  // A recording and the synthesizer take turns.
  player.listen(() => player.on && document.querySelectorAll("audio").forEach((one) => one.pause()));

  // ---- the keyboard ----

  addEventListener("keydown", (event) => {
    if (event.key !== " " || event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    const on = event.target instanceof Element ? event.target : document.body;
    if (on.closest("button, a, select, summary, audio, input:not([type=range])")) return;
    const song = view.shown ?? player.loaded?.song;
    if (!song) return;
    event.preventDefault();
    const here = player.loaded && (!view.shown || player.loaded.song === view.shown);
    if (here) player.toggle(player.loaded.song, player.loaded.side);
    else if (song.verdict !== "failed") player.toggle(song, "song");
  });

  find("skip").addEventListener("click", (event) => {
    event.preventDefault();
    (find("overview").hidden ? find("song") : find("songs")).querySelector("h2, a")?.focus();
  });

  addEventListener("hashchange", show);
  const shown = show();
  requestAnimationFrame(() => setTimeout(() => performance.mark("usable")));
  shown.then(() => performance.mark("complete"));
})();
