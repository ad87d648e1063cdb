"""Eighty-four odd MIDI files: one verdict for each, as a reader of its name would give it.

They lie beside the project where it is developed: the collections of jazz-soft.net
(test-*.mid) and of Nicolas Froidure's midifile (MIDI*.mid), both under the MIT licence.
"""

from pathlib import Path

import pytest

from music.midi import Limits
from music.verdict import judge

ODD = Path(__file__).parents[3] / "shared/data/odd-midi"

KEPT = {
    # name: (notes, percussion, parts)
    "damaged/MIDIBadFormat1": (4, 0, 3),  # nothing is wrong with its bytes
    "damaged/MIDIOkFormat0": (4, 0, 3),
    "damaged/MIDIOkFormat1": (4, 0, 3),
    "damaged/MIDIOkFormat1-lyrics": (6, 0, 1),
    "test-2-tracks-type-1": (16, 0, 2),
    "test-all-gm-sounds": (512, 0, 1),
    "test-all-gm2-sounds": (1024, 36, 1),
    "test-all-gs-sounds": (5044, 0, 1),
    "test-all-microsoft-gs-wavetable-synth-sounds": (904, 0, 1),
    "test-all-xg-sounds": (4364, 196, 1),
    "test-c-major-scale": (8, 0, 1),
    "test-control-00-20-bank-select": (4, 4, 1),  # drums on channel 1, a melody on 10
    "test-control-40-damper": (8, 0, 1),
    "test-control-41-portamento": (8, 0, 1),
    "test-control-54-portamento-control": (1, 0, 1),
    "test-gm2-doggy-79-01-7b": (3, 0, 1),
    "test-gs-doggy-01-00-7b": (3, 0, 1),
    "test-karaoke-kar": (29, 0, 1),
    "test-multichannel-chords-0": (24, 0, 3),
    "test-multichannel-chords-1": (24, 0, 3),
    "test-multichannel-chords-2": (24, 0, 3),
    "test-multichannel-chords-3": (24, 0, 3),
    "test-note-on-velocity": (9, 0, 1),
    "test-rpn-00-00-pitch-bend-range": (5, 0, 1),
    "test-rpn-00-01-fine-tuning": (25, 0, 2),
    "test-rpn-00-02-coarse-tuning": (8, 0, 1),
    "test-rpn-00-05-modulation-depth-range": (5, 0, 1),
    "test-running-status-metaevent": (8, 0, 1),
    "test-running-status-sysex": (8, 0, 1),
    "test-smpte-offset": (8, 0, 1),  # an offset in film frames; time itself is in ticks
    "test-sysex-7f-04-03-master-fine-tuning": (5, 0, 1),
    "test-sysex-7f-04-04-master-coarse-tuning": (8, 0, 8),
    "test-sysex-7x-08-0x-scale-tuning": (65, 0, 1),
    "test-sysex-gs-40-1x-15-drum-part-change": (4, 4, 1),  # as on the bank's file
    "test-sysex-gs-40-1x-4x-scale-tuning": (3, 0, 1),
    "test-track-length": (1, 0, 1),
    "test-vlq-2-byte": (8, 0, 1),
    "test-vlq-3-byte": (8, 0, 1),
    "test-vlq-4-byte": (8, 0, 1),
    "test-xg-doggy-40-00-30": (3, 0, 1),
}
REPAIRED = {
    # name: (repair, notes)
    "damaged/MIDIBadHeaderLength": ("header-length", 4),
    "damaged/MIDIBadHeaderTracksNum": ("track-count", 4),
    "damaged/MIDIBadTrackLength": ("chunk-length", 4),
    "test-2-tracks-type-0": ("type-0", 16),
    "test-corrupt-file-extra-byte": ("extra-bytes", 8),
    "test-corrupt-file-missing-byte": ("last-byte", 8),
    "test-non-midi-track": ("foreign-chunk", 8),
    "test-illegal-message-all": ("illegal-message", 8),
    "test-illegal-message-f1-xx": ("illegal-message", 8),
    "test-illegal-message-f2-xx-xx": ("illegal-message", 8),
    "test-illegal-message-f3-xx": ("illegal-message", 8),
    "test-illegal-message-f4": ("illegal-message", 8),
    "test-illegal-message-f5": ("illegal-message", 8),
    "test-illegal-message-f6": ("illegal-message", 8),
    "test-illegal-message-f8": ("illegal-message", 8),
    "test-illegal-message-f9": ("illegal-message", 8),
    "test-illegal-message-fa": ("illegal-message", 8),
    "test-illegal-message-fb": ("illegal-message", 8),
    "test-illegal-message-fc": ("illegal-message", 8),
    "test-illegal-message-fd": ("illegal-message", 8),
    "test-illegal-message-fe": ("illegal-message", 8),
}
PERCUSSION = "there are no notes but {} of percussion, which is left out"
REJECTED = {
    # name: (reason, a part of the detail)
    "damaged/MIDIBadHeaderChunk": ("not-midi", "does not begin with a MIDI header"),
    "damaged/MIDIBadHeaderFormat": ("damaged", "the header names type 3"),
    "damaged/MIDIBadHeaderSMTPE": ("smpte", "film frames"),
    "damaged/MIDIBadTrackHdr": ("damaged", "found: 0, besides 1 of what is no track"),
    "damaged/MIDIOkFormat2": ("type-2", "independent sequences"),
    "test-2-tracks-type-2": ("type-2", "independent sequences"),
    "test-all-gm-percussion": ("no-notes", PERCUSSION.format(183)),
    "test-control-7c-omni-mode-off": ("no-notes", "there are no notes"),
    "test-control-7d-omni-mode-on": ("no-notes", "there are no notes"),
    "test-control-7e-mono-mode-on": ("no-notes", "there are no notes"),
    "test-control-7f-poly-mode-on": ("no-notes", "there are no notes"),
    "test-empty": ("no-notes", "there are no notes"),
    "test-empty-file": ("empty", "no bytes"),
    "test-gm2-doggy-78-00-38-4c": ("no-notes", PERCUSSION.format(3)),
    "test-not-a-midi-file": ("not-midi", "does not begin with a MIDI header"),
    "test-silence-all-notes-off": ("no-notes", "there are no notes"),
    "test-silence-end-of-track": ("no-notes", "there are no notes"),
    "test-silence-text-metaevent": ("no-notes", "there are no notes"),
    "test-sysex-7e-06-01-id-request": ("no-notes", "there are no notes"),
    "test-sysex-7e-09-01-gm1-enable": ("no-notes", "there are no notes"),
    "test-sysex-7e-09-02-gm-disable": ("no-notes", "there are no notes"),
    "test-sysex-7e-09-03-gm2-enable": ("no-notes", "there are no notes"),
    "test-xg-doggy-7e-00-00-54": ("no-notes", PERCUSSION.format(3)),
}
C_MAJOR = [60, 62, 64, 65, 67, 69, 71, 72]

pytestmark = pytest.mark.skipif(not ODD.is_dir(), reason=f"no {ODD}: not part of the project")


def verdict_of(name):
    return judge(name, (ODD / f"{name}.mid").read_bytes(), Limits())


def test_every_file_of_the_collections_is_expected_here():
    there = {str(path.relative_to(ODD).with_suffix("")) for path in ODD.rglob("*.mid")}
    assert there == KEPT.keys() | REPAIRED.keys() | REJECTED.keys()
    assert len(KEPT) + len(REPAIRED) + len(REJECTED) == 84


@pytest.mark.parametrize("name", KEPT)
def test_a_file_that_is_sound_is_kept(name):
    verdict, _ = verdict_of(name)
    assert (verdict.verdict, verdict.detail, verdict.repairs) == ("kept", "", ())
    assert (verdict.notes, verdict.percussion, verdict.parts) == KEPT[name]


@pytest.mark.parametrize("name", REPAIRED)
def test_a_file_that_players_play_is_repaired(name):
    verdict, reading = verdict_of(name)
    repair, notes = REPAIRED[name]
    assert (verdict.verdict, verdict.repairs, verdict.notes) == ("repaired", (repair,), notes)
    if "You must hear a C-Major scale" in (ODD / f"{name}.mid").read_text("latin-1"):
        assert reading.song.notes[:, 2].tolist() == C_MAJOR


@pytest.mark.parametrize("name", REJECTED)
def test_a_file_that_cannot_be_learned_from_is_rejected(name):
    verdict, reading = verdict_of(name)
    reason, detail = REJECTED[name]
    assert (verdict.verdict, verdict.reason, reading) == ("rejected", reason, None)
    assert detail in verdict.detail
