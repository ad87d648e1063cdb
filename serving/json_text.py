"""JSON as TensorFlow Serving reads and writes it: beyond the standard in places.

The binary parses with RapidJSON, told to take `NaN`, `Inf` and `Infinity`, and
prints such numbers too. orjson is many times faster than anything else in Python
but knows the standard alone, so it goes first and the standard library's parser
has the second look, which is also where the words for a refusal come from.

Numbers keep what they are: an integer of up to 64 bits stays exact, `1.0` is no
integer, and what is larger becomes a double.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

from serving import errors
from serving.errors import MESSAGE_LIMIT, TRUNCATED

# What the standard library says, in RapidJSON's words.
_PARSE_ERRORS = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Extra data": "The document root must not be followed by other values.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]|\bInf\b', re.DOTALL)
_UINT64_DIGITS = 20


def parse(text: bytes) -> dict[str, Any]:
    """The object in a request's body.

    Raises:
      ServingError: INVALID_ARGUMENT when it is no JSON, or no object.
    """
    if not text:
        raise errors.invalid_argument("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = _parse_loosely(text)
    if not isinstance(document, dict):
        raise refused(document, "Is not object")
    return document


def dump(value: Any) -> bytes:
    """A value as JSON; numpy arrays and scalars are written as lists and numbers.

    A float32 is written with the fewest digits that read back as the same
    float32, and whole ones with a final `.0`.
    """
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def writable(array: np.ndarray) -> Any:
    """What `dump` writes an array of numbers or booleans as, NaN and all."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        # orjson writes null there. Printing and reading back finds a float32's
        # shortest digits, which a conversion to double would bury in noise.
        flat = np.array([float(str(value)) for value in array.ravel()])
        return orjson.Fragment(json.dumps(flat.reshape(array.shape).tolist()))
    return np.ascontiguousarray(array) if array.ndim else array[()]


def show(value: Any) -> str:
    """A value as error messages quote it: indented, and cut when it is long."""
    parts: list[str] = []
    length = 0
    try:
        for part in _QUOTE.iterencode(value):
            parts.append(part)
            length += len(part)
            if length > MESSAGE_LIMIT:
                return "".join(parts)[:MESSAGE_LIMIT] + TRUNCATED
    except RecursionError:
        parts.append(TRUNCATED)
    return "".join(parts)


def type_name(value: Any) -> str:
    """RapidJSON's name for the type of a parsed value."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    for kind, name in ((dict, "Object"), (list, "Array"), (str, "String")):
        if isinstance(value, kind):
            return name
    return "Number"


def refused(value: Any, why: str) -> errors.ServingError:
    """INVALID_ARGUMENT that quotes the value and says what is wrong with it."""
    return errors.invalid_argument(f"JSON Value: {show(value)} {why}")


_QUOTE = json.JSONEncoder(indent=4, ensure_ascii=False)


def _parse_loosely(text: bytes) -> Any:
    """Reads what orjson refuses: NaN and infinities; raises for the rest."""
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise _parse_error("Invalid encoding in string.", error.start) from error
    # The one spelling that Python does not know.
    decoded = _TOKEN.sub(lambda m: "Infinity" if m[0] == "Inf" else m[0], decoded)
    try:
        document = json.loads(decoded, parse_float=_double, parse_int=_integer)
        # Python lets halves of surrogate pairs through, which are no text.
        json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        said = _PARSE_ERRORS.get(error.msg) or _missing_comma(decoded[: error.pos])
        raise _parse_error(said, len(decoded[: error.pos].encode())) from error
    except UnicodeEncodeError as error:
        raise _parse_error("The surrogate pair in string is invalid.", 0) from error
    except OverflowError as error:
        raise _parse_error("Number too big to be stored in double.", 0) from error
    except RecursionError as error:
        raise errors.invalid_argument(
            "JSON Parse error: The document is nested too deep"
        ) from error
    return document


def _double(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise OverflowError(digits)
    return number


def _integer(digits: str) -> int | float:
    if len(digits) > _UINT64_DIGITS:
        return _double(digits)
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else float(number)


def _missing_comma(before: str) -> str:
    opened: list[str] = []
    for token in _brackets(before):
        if token in "[{":
            opened.append(token)
        elif opened:
            opened.pop()
    if opened and opened[-1] == "[":
        return "Missing a comma or ] after an array element."
    return "Missing a comma or } after an object member."


def _brackets(text: str) -> Iterable[str]:
    return (match[0] for match in _TOKEN.finditer(text) if match[0] in "[]{}")


def _parse_error(said: str, offset: int) -> errors.ServingError:
    return errors.invalid_argument(f"JSON Parse error: {said} at offset: {offset}")
