"""The one kind of error that a person is meant to read.

Everything that can go wrong because of what a user gave (a file, a folder, a
flag, a server that is not there) is raised as a `SegueError` whose message is
one finished line: the offending value, what was allowed, and the way out. The
command line prints that line and exits with 1; any other exception is a bug
of ours, and its trace goes to the log.
"""

import re


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


# How Beam tells of an error in another process: by the text of its trace.
_TOLD = re.compile(r"^music\.errors\.(?:SegueError|MidiError): (.*)$", re.MULTILINE)
# What Beam adds to the message of an error in a stage.
_REMARK = re.compile(r"(?: \[while running '[^']*'\])+$")


def find_segue_error(error: BaseException) -> SegueError | None:
    """The SegueError behind an error that a library wrapped; None when there is none.

    Its message is the line that was raised, also where Beam has added to it, or tells of
    it from another process, by its text alone.
    """
    seen: BaseException | None = error
    while seen is not None:
        told = [str(seen)] if isinstance(seen, SegueError) else _TOLD.findall(str(seen))
        if told:
            line = _REMARK.sub("", told[-1])
            same = isinstance(seen, SegueError) and line == told[-1]
            return seen if same else SegueError(line)  # type: ignore[return-value]
        seen = seen.__cause__ or seen.__context__
    return None
