"""A page on which a catalogue's owner hears, compares and judges a batch of new songs.

`write_gallery` turns the lines of a batch's manifest, and the files that they name, into
`index.html` and a folder `gallery/` beside the songs: search, sort, piano rolls, a player,
scores, the original beside the new song, and a certificate of originality for each. It is
static: opened from the disk or put on any web server, it asks no network for anything.

    write_gallery(Path("out"), records, {"catalogue": "Lieder", "composer": "Louise Reichardt"})
"""

from client.gallery.page import write_gallery

__all__ = ["write_gallery"]
