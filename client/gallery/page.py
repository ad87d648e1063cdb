"""Writes the gallery: the page, its scripts, and the songs' data in pieces of some dozens.

A page that was opened from the disk may not fetch anything, but it may run scripts that
lie beside it. So the list is one script, read when the page opens, and what a song sounds
like is in another, which the page adds when the song is opened or played. The page goes
last into its place: until then whoever looks sees the gallery that was there before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from client.gallery.entries import keys_of, list_entry, number_or_none, song_entry, verdict
from client.output import write_atomically
from music.errors import SegueError, printable
from music.processes import mapper

INDEX, ASSETS = "index.html", "gallery"

# A script of data ends with the song that fills it, by count or by numbers of notes.
SONGS_A_SCRIPT = 24
NOTES_A_SCRIPT = 60_000
SONGS_WORTH_A_PROCESS = 100  # its imports take as long as reading half of them

_PACKAGE = Path(__file__).parent
_SCRIPTS = ("kit.js", "player.js", "roll.js", "list.js", "certificate.js", "song.js", "main.js")
_STATIC = ("gallery.css", *_SCRIPTS)
_VENDORED = ("webaudio-tinysynth.min.js", "webaudio-tinysynth.LICENSE.txt")

# What a batch may tell of itself, in the order in which it is shown.
_LABELS = {
    "composer": "Composer",
    "catalogue": "Catalogue",
    "model": "Model",
    "settings": "Settings",
    "formats": "Formats",
}
_COUNTED = ("made", "failed")  # shown as they are found in the records


def write_gallery(
    folder: Path, records: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> Path:
    """Writes `folder/index.html` and `folder/gallery/`, each file whole or not at all.

    The same records, files and `about` give the same bytes.

    Args:
      folder: where the songs are.
      records: lines of the batch's manifest, a song each, those that failed as well; their
        outputs' paths are relative to `folder`. The list begins in this order.
      about: what the batch says of itself: `catalogue`, `composer`, `model`, `settings`,
        `formats` and whatever else; all is optional and shown.

    Returns:
      The path of the page.

    Raises:
      SegueError: a file that the manifest names is missing or is another than it says, or
        the page cannot be written.
    """
    measures = list(
        dict.fromkeys(name for record in records for name in record.get("measures") or ())
    )
    keys = keys_of(records)
    assets = folder / ASSETS
    songs, scripts = [], 0
    for script, batch in enumerate(_batches(folder, records)):
        data = {}
        for index, entry, stamp in batch:
            data[keys[index]] = entry
            row = list_entry(records[index], keys[index], measures)
            songs.append({**row, "stamp": stamp, "script": script})
        _write_script(assets / _data_name(script), f"Gallery.receive({script},", data, ")")
        scripts = script + 1
    _write_script(assets / "songs.js", "Gallery.index=", {"measures": measures, "songs": songs})
    for name in _STATIC:
        write_atomically(assets / name, (_PACKAGE / "static" / name).read_bytes())
    for name in _VENDORED:
        write_atomically(assets / name, (_PACKAGE / "vendor" / name).read_bytes())
    write_atomically(folder / INDEX, _index(records, about).encode("utf-8", "replace"))
    _remove_older(assets, {_data_name(script) for script in range(scripts)})
    return folder / INDEX


def _batches(
    folder: Path, records: Sequence[Mapping[str, Any]]
) -> Iterator[list[tuple[int, dict[str, Any], str]]]:
    """(place, entry, stamp) of the songs of one script after the other."""
    batch: list[tuple[int, dict[str, Any], str]] = []
    notes = 0
    with mapper(len(records), SONGS_WORTH_A_PROCESS, chunk=16) as each:
        for index, (entry, stamp) in enumerate(each(partial(song_entry, folder), records)):
            batch.append((index, entry, stamp))
            tracks = (entry["song"], entry["original"])
            notes += sum(len(track["notes"]) // 5 for track in tracks if track)
            if len(batch) == SONGS_A_SCRIPT or notes >= NOTES_A_SCRIPT:
                yield batch
                batch, notes = [], 0
        if batch:
            yield batch


def _data_name(script: int) -> str:
    return f"data-{script:03d}.js"


def _write_script(path: Path, before: str, data: Any, after: str = "") -> None:
    write_atomically(path, f"{before}{script_json(data)}{after};\n".encode("ascii"))


def script_json(data: Any) -> str:
    """JSON that may stand in a script, in a file of its own or inside a page.

    ASCII alone, so that neither an encoding nor U+2028 can end a line of it, and without
    a sign that could end the script or begin a comment in HTML.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _remove_older(assets: Path, kept: set[str]) -> None:
    """Removes scripts of a larger gallery that stood here before."""
    for path in assets.glob("data-*.js"):
        if path.name not in kept and path.stem.removeprefix("data-").isdigit():
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise SegueError(
                    f"{path} of an older gallery cannot be removed: {error.strerror}; remove it"
                ) from error


# ---- the page ---------------------------------------------------------------


def _index(records: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PACKAGE / "static"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    verdicts = [verdict(record) for record in records]
    return environment.get_template("index.html").render(
        title=_title(about),
        composer=printable(str(about.get("composer") or "the composer")),
        songs=len(records),
        made=len(records) - verdicts.count("failed"),
        failed=verdicts.count("failed"),
        copies=verdicts.count("copy"),
        judged=verdicts.count("copy") + verdicts.count("original"),
        flagged=sum(bool(record.get("flags")) for record in records),
        seconds=sum(number_or_none(record.get("seconds")) or 0 for record in records),
        clock=_clock,
        about=list(_told(about)),
        scripts=("songs.js", *_SCRIPTS[1:]),
        first_script=_SCRIPTS[0],
    )


def _title(about: Mapping[str, Any]) -> str:
    after = about.get("composer") or about.get("catalogue")
    return printable(f"Songs after {after}") if after else "New songs"


def _told(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(label, value), those that are known first, then whatever else was given."""
    names = [name for name in _LABELS if name in about]
    names += [name for name in about if name not in _LABELS and name not in _COUNTED]
    for name in names:
        words = _words(about[name])
        if words:
            label = _LABELS.get(name) or str(name).replace("_", " ").capitalize()
            yield printable(label), printable(words)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = ((str(name).replace("_", " "), _words(inner)) for name, inner in value.items())
        return ", ".join(f"{name} {words}" for name, words in pairs if words)
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, map(_words, value)))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _clock(seconds: float) -> str:
    """Seconds as a length of time: 42 s, 3 min, 1 h 5 min."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
