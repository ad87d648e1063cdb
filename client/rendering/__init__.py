"""A song for people: as MIDI, score, picture and sound, each saying where it came from.

    formats = parse_formats("midi,pdf")
    check_formats(formats)
    files = render(song, formats, Provenance("Song 1", "J. S. Bach", facts, remark))
    for ending, data in files.items():
        ...  # ".mid", ".pdf"

The way of a score: `reading` puts the notes on a grid that eyes can read, `staves` and
`voices` deal them out, `spelling` names their pitches, `signs` gives them values in
their `meter`, `score` has music21 write it all down as MusicXML; `engraving` draws that
with verovio, and `pages` prints it. `sound` plays with FluidSynth. Nothing heavy is
imported before it is needed, and the same song gives the same bytes.

`render` may be called from several threads; verovio and typst serve one of them at a
time. A catalogue is rendered faster by processes.
"""

from __future__ import annotations

from collections.abc import Iterable

from client.rendering.engraving import engrave
from client.rendering.formats import check_formats, parse_formats
from client.rendering.pages import pdf, pngs
from client.rendering.provenance import Provenance, plain
from client.rendering.score import musicxml, score_of
from client.rendering.settings import DEFAULT, ENGRAVED, FORMATS, SCORES, RenderSettings
from client.rendering.sound import check_length, wav
from music.errors import SegueError
from music.midi import write_midi
from music.roll import piano_roll
from music.song import Song

__all__ = [
    "FORMATS",
    "Provenance",
    "RenderSettings",
    "check_formats",
    "parse_formats",
    "render",
]


def render(
    song: Song,
    formats: Iterable[str],
    provenance: Provenance,
    settings: RenderSettings = DEFAULT,
) -> dict[str, bytes]:
    """A song in several formats; all of them, or none.

    Args:
      song: at least one note.
      formats: some of `FORMATS`.
      provenance: what the files say of themselves.
      settings: bounds, and the soundfont.

    Returns:
      The files by what their names are to end in: `.mid`, `.musicxml`, `.pdf`, `-1.svg`,
      `-2.svg` and on for the pages, `-1.png` and on, `.wav`, `.roll.svg`; in the order
      of `FORMATS`.

    Raises:
      SegueError: a format does not exist, a tool is missing, or the song has no notes
        or exceeds a bound.
    """
    wanted = parse_formats(",".join(formats))
    check_formats(wanted, settings)
    if not len(song):
        name = plain(provenance.title) or plain(song.title) or "the song"
        raise SegueError(f"{name} has no notes; there is nothing to render")
    # What may be refused comes before what takes long.
    if "wav" in wanted:
        check_length(song, settings)
    xml = b""
    if set(wanted) & set(SCORES):
        xml = musicxml(score_of(song, settings), provenance)
    pages: list[bytes] = []
    if set(wanted) & set(ENGRAVED):
        pages = engrave(xml, provenance, settings)

    files: dict[str, bytes] = {}
    for name in wanted:
        if name == "midi":
            files[".mid"] = write_midi(song, provenance.remark)
        elif name == "musicxml":
            files[".musicxml"] = xml
        elif name == "pdf":
            files[".pdf"] = pdf(pages, provenance)
        elif name == "svg":
            files |= {f"-{number}.svg": page for number, page in enumerate(pages, 1)}
        elif name == "png":
            pictures = pngs(pages, provenance)
            files |= {f"-{number}.png": data for number, data in enumerate(pictures, 1)}
        elif name == "wav":
            files[".wav"] = wav(song, provenance, settings)
        elif name == "roll":
            files[".roll.svg"] = piano_roll(song, ".svg", plain(provenance.title))
    return files
