"""MidiParser: a folder of MIDI files becomes songs, and every file gets a verdict."""
