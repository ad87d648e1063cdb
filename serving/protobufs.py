"""What differs between the releases of protobuf that Segue runs on (3.20 and 6)."""

from __future__ import annotations

import inspect
from typing import Any

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

# Protobuf 5 renamed the option.
_PRINT_DEFAULTS = next(
    name
    for name in ("including_default_value_fields", "always_print_fields_with_no_presence")
    if name in inspect.signature(json_format.MessageToJson).parameters
)


def as_json(message: Message) -> str:
    """A message as JSON: names as in the proto, int64 as strings, defaults written out."""
    options: dict[str, Any] = {_PRINT_DEFAULTS: True}
    return json_format.MessageToJson(message, preserving_proto_field_name=True, indent=1, **options)


def message_class(pool: DescriptorPool, name: str) -> Any:
    """The class of a message that was declared in a pool of one's own."""
    descriptor = pool.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)  # type: ignore[attr-defined]
