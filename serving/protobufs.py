"""What differs between the releases of protobuf that Segue runs on (3.20 and 6)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
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


def declare_service(file: str, name: str, methods: Mapping[str, tuple[Any, Any]]) -> str:
    """Makes a service known to the default pool, where server reflection looks it up.

    The modules that tensorflow-serving-api 2.19 brings for its services, the last that
    tfx-bsl 1.21 allows, write to descriptors, which protobuf 6 refuses. Its messages and
    stubs are fine, and so is its own declaration of the same service, before or after.

    Args:
      file: the proto file's name.
      name: the service, in the package of its messages.
      methods: request and response class by the method's name, in the order of the file.

    Returns:
      The service's full name.

    Raises:
      TypeError: when the pool knows another file of that name.
    """
    messages = [kind.DESCRIPTOR for pair in methods.values() for kind in pair]
    package = messages[0].file.package
    proto = descriptor_pb2.FileDescriptorProto(
        name=file,
        package=package,
        syntax="proto3",
        dependency=sorted({message.file.name for message in messages}),
    )
    proto.options.cc_enable_arenas = True
    service = proto.service.add(name=name)
    for method, (request, response) in methods.items():
        service.method.add(
            name=method,
            input_type=f".{request.DESCRIPTOR.full_name}",
            output_type=f".{response.DESCRIPTOR.full_name}",
        )
    descriptor_pool.Default().AddSerializedFile(proto.SerializeToString())
    return f"{package}.{name}"
