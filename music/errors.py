"""The one kind of error that a person is meant to read.

Everything that can go wrong because of what a user gave (a file, a folder, a
flag, a server that is not there) is raised as a `SegueError` whose message is
one finished line: the offending value, what was allowed, and the way out. The
command line prints that line and exits with 1; any other exception is a bug
of ours, and its trace goes to the log.
"""


def printable(line: str) -> str:
    """Text with names from outside in it, without what breaks a line or a terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in line
    )


class SegueError(Exception):
    """A mistake or circumstance that the user can mend; the message is one line."""


class MidiError(SegueError):
    """Bytes that cannot become a Song.

    Attributes:
      reason: a short fixed name of the cause (`not-midi`, `no-notes`, ...), the
        same on every machine, so that verdicts can be counted.
    """

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self):
        # Exceptions with their own signature do not survive pickling (Beam
        # workers, process pools) unless they say how to be rebuilt.
        return type(self), (self.reason, self.detail)


def find_segue_error(error: BaseException) -> SegueError | None:
    """The SegueError behind an error that a library wrapped; None when there is none."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, SegueError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
