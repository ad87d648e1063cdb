"""What is asked for where nothing is said; light, so that `--help` can tell it."""

# Events of a song, as in the paper.
DEFAULT_STEPS = 250
# How often a song that copies too much is made again from there.
DEFAULT_TRIES = 8
