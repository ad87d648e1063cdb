"""A run's parameters mean in a container what they mean on the command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeflow.mounts import FOLDERS, VARIABLE, to_path
from kubeflow.parameters import SPEC, Parameters, parse_values
from music.errors import SegueError

TYPES = {name: one["parameterType"] for name, one in SPEC.items()}


def test_numbers_come_back_as_the_backend_hands_them():
    given = Parameters("/d", "/r", "smoke", 3, ("a=1",))
    values = {**given.values(), "epochs": 3.0}  # JSON of protobuf knows no whole numbers
    assert Parameters.from_values(values) == given
    assert isinstance(Parameters.from_values(values).epochs, int)


def test_epochs_go_before_the_preset_and_before_other_settings():
    config = Parameters("/d", "/r", "smoke", 9, ("training.epochs=2",)).configuration()
    assert config.training.epochs == 9
    assert Parameters("/d", "/r", "smoke").configuration().training.epochs == 3


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("epoch=3", "^parameter epoch does not exist; the pipeline has: data, epochs"),
        ("epochs=three", "^parameter epochs takes a whole number, got 'three'"),
        ("epochs=1.5", "takes a whole number"),
        ("epochs=true", "takes a whole number"),
        ("set=a=1", "^parameter set takes a list, got 'a=1'"),
        ("set=[1]", "takes a list of texts"),
        ("set=[", "^parameter 'set=\\[':"),
        ("data", "^parameter 'data' is not given a value; write name=value"),
    ],
)
def test_a_wrong_parameter_is_one_line(pair, words):
    with pytest.raises(SegueError, match=words) as error:
        parse_values(TYPES, [pair])
    assert "\n" not in str(error.value)


def test_parameters_are_read_by_their_type():
    pairs = ["data=1", "epochs=2", 'set=["a=b"]']
    assert parse_values(TYPES, pairs) == {"data": "1", "epochs": 2, "set": ["a=b"]}


def test_negative_epochs_and_unknown_presets_are_refused():
    with pytest.raises(SegueError, match="^parameter epochs -1 is not allowed"):
        Parameters("/d", "/r", "smoke", -1).configuration()
    with pytest.raises(SegueError, match="^preset 'none' does not exist"):
        Parameters("/d", "/r", "none").configuration()
    with pytest.raises(SegueError, match="^parameter root is not given"):
        Parameters.from_values({"data": "/d"})


@given(
    st.sampled_from(sorted(FOLDERS)),
    st.lists(st.text("az09.-_ ", min_size=1, max_size=5), min_size=1, max_size=4),
)
def test_a_uri_lies_where_the_launcher_puts_it(scheme, parts):
    rest = "/".join(parts)
    assert to_path(f"{scheme}://{rest}", "/") == f"/{FOLDERS[scheme]}/{rest}"
    assert to_path(f"{scheme}://{rest}", "/x") == f"/x/{FOLDERS[scheme]}/{rest}"


def test_what_is_in_no_bucket_stays(monkeypatch):
    monkeypatch.setenv(VARIABLE, "/mounts")
    assert to_path("/segue/midi") == "/segue/midi"
    assert to_path("http://example.com/a") == "http://example.com/a"
    assert to_path("minio:///etc") == "/mounts/minio/etc"
