import grpc

from serving import errors


def test_row_16_messages_are_cut_at_1024_characters():
    assert errors.internal("m" * 1024).wire_message == "m" * 1024
    assert errors.internal("m" * 1025).wire_message == "m" * 1024 + "...TRUNCATED"


def test_a_character_is_not_cut_in_half():
    # 1,023 bytes and a letter of two: the letter does not fit.
    assert errors.internal("m" * 1023 + "é").wire_message == "m" * 1023 + "...TRUNCATED"


def test_codes_are_tensorflows_numbers():
    assert errors.from_number(9, "x").code is grpc.StatusCode.FAILED_PRECONDITION
    assert errors.from_number(9, "x").number == 9
    assert errors.from_number(99, "x").code is grpc.StatusCode.UNKNOWN


def test_an_exception_becomes_one_line():
    assert errors.one_line(ValueError("two\n lines")) == "ValueError: two lines"
    assert errors.one_line(ValueError()) == "ValueError"
