"""music21's corpus as MIDI files, compared with the scores they come from."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from fractions import Fraction

import pytest

from music import corpus
from music.corpus import composers, export, scores
from music.errors import SegueError
from music.midi import read_midi
from music.song import TICKS_PER_QUARTER


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def chorales(tmp_path_factory):
    """Two four-part chorales of Bach's, and what was told on the way."""
    folder = tmp_path_factory.mktemp("corpus") / "made" / "on the way"
    told = []
    files = export("bach", folder, limit=2, parts=4, on_song=lambda *counts: told.append(counts))
    return folder, files, told


# ---- which scores there are -------------------------------------------------


def test_composers_are_those_of_the_corpus_whatever_folders_they_have_inside():
    known = composers()
    assert known == sorted(set(known))
    assert {"bach", "beethoven", "haydn", "joplin", "monteverdi", "mozart", "palestrina"} <= set(
        known
    )
    assert not [name for name in known if re.match(r"opus\d|k\d|choraleAnalyses", name)]


def test_no_two_scores_of_a_composer_share_a_file():
    for composer in ("bach", "beethoven", "monteverdi", "mozart", "palestrina", "trecento"):
        names = Counter(corpus._name(path).lower() for path in scores(composer))
        assert not [name for name, count in names.items() if count > 1]


def test_pieces_that_share_a_name_in_several_folders_all_count():
    first_movements = [path for path in scores("beethoven") if path.stem == "movement1"]
    assert {path.parent.name for path in first_movements} >= {"opus18no1", "opus59no1"}
    names = {corpus._name(path) for path in first_movements}
    assert {"opus18no1_movement1", "opus59no1_movement1"} <= names


def test_file_names_need_no_quoting_anywhere():
    for path in itertools.chain.from_iterable(p.values() for p in corpus._pieces().values()):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", corpus._name(path)), path


def test_scores_stand_in_the_order_of_their_numbers():
    names = [path.name for path in scores("bach")]
    assert names[:3] == ["bwv1.6.mxl", "bwv2.6.mxl", "bwv3.6.mxl"]
    assert names.index("bwv9.7.mxl") < names.index("bwv10.7.mxl") < names.index("bwv101.7.mxl")


def test_analyses_are_no_scores():
    assert not [path for path in scores("monteverdi") if path.suffix == ".rntxt"]


def test_of_a_piece_in_several_formats_the_musicxml_counts():
    files = [path.name for path in scores("bach") if path.stem == "bwv277"]
    assert files == ["bwv277.mxl"]


@pytest.mark.parametrize("composer", ["beatles", "", "opus18no1", "../bach"])
def test_an_unknown_composer_is_one_line_that_lists_those_there_are(composer, tmp_path):
    for ask in (scores, lambda name: export(name, tmp_path / "out")):
        with pytest.raises(SegueError) as caught:
            ask(composer)
        message = str(caught.value)
        assert "\n" not in message
        assert repr(composer) in message
        assert "bach, beach, beethoven," in message
    assert not (tmp_path / "out").exists()


# ---- writing ----------------------------------------------------------------


def test_an_export_writes_as_many_songs_as_were_asked_for_and_nothing_else(chorales):
    folder, files, told = chorales
    assert [path.name for path in files] == ["bwv2.6.mid", "bwv3.6.mid"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in files)
    assert told == [(1, 2), (2, 2)]


def notes_of_score(score):
    """(onset, duration, pitch, part) of a score, ties joined, on the grid."""

    def grid(quarters):
        ticks = Fraction(quarters).limit_denominator(1000) * TICKS_PER_QUARTER
        return int(ticks + Fraction(1, 2))

    return sorted(
        (grid(element.offset), grid(element.quarterLength), pitch.midi, number)
        for number, part in enumerate(score.parts)
        for element in part.stripTies().flatten().notes
        if not element.duration.isGrace
        for pitch in element.pitches
    )


def test_a_written_song_has_its_scores_notes(chorales):
    from music21 import converter

    _, files, _ = chorales
    paths = {corpus._name(path): path for path in scores("bach")}
    for file in files:
        score = converter.parse(paths[file.stem], forceSource=True)
        song = read_midi(file.read_bytes())
        notes = [(*map(int, n[:3]), int(n[4])) for n in song.notes]
        assert sorted(notes) == notes_of_score(score)
        assert song.parts == [0, 1, 2, 3]
        time_signature = score.recurse().getElementsByClass("TimeSignature").first()
        assert song.time_signature == time_signature.ratioString
        assert file.stem.encode() in file.read_bytes()


def test_what_is_already_there_stays_even_beyond_the_limit(chorales, tmp_path):
    _, (first, second), _ = chorales
    (tmp_path / first.name).write_bytes(b"something of the user's own")
    (tmp_path / second.name).write_bytes(second.read_bytes())
    before = contents(tmp_path)
    assert export("bach", tmp_path, limit=1, parts=4) == [tmp_path / first.name]
    assert contents(tmp_path) == before


def test_a_score_with_other_parts_is_left_out(tmp_path):
    with pytest.raises(SegueError, match="none of webern's 1 scores could be written as MIDI"):
        export("webern", tmp_path, parts=7)
    assert list(tmp_path.iterdir()) == []


def test_chord_symbols_are_not_played(tmp_path):
    from music21 import converter

    path = next(path for path in scores("leadSheet") if "foster" in path.name)
    target = corpus._export_one(path, tmp_path / "foster.mid", None)
    score = converter.parse(path, forceSource=True)
    symbols = list(score.recurse().getElementsByClass("Harmony"))
    assert symbols
    melody = score.parts[0].stripTies().flatten().getElementsByClass("Note")
    assert len(read_midi(target.read_bytes())) == len(melody)


def test_a_folder_that_cannot_be_made_is_a_line_for_a_person(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SegueError, match="cannot make the folder .*file/songs: Not a directory"):
        export("webern", tmp_path / "file" / "songs")


def test_a_song_that_cannot_be_written_is_a_line_for_a_person(tmp_path):
    target = tmp_path / "missing" / "song.mid"
    with pytest.raises(SegueError, match="cannot write .*song.mid: No such file or directory"):
        corpus._export_one(scores("webern")[0], target, None)


def test_a_score_that_music21_cannot_read_is_no_song(tmp_path):
    broken = tmp_path / "broken.mxl"
    broken.write_bytes(b"not a score")
    assert corpus._export_one(broken, tmp_path / "broken.mid", None) is None
