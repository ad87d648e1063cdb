"""A ModelServerConfig becomes checked values, or an error in the binary's words."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.config import model_server_config_pb2

from serving import model_config
from serving.errors import ServingError


def _list(text):
    return text_format.Parse(text, model_server_config_pb2.ModelConfigList())


MODEL = 'config {{ name: "a" base_path: "/m/a" model_platform: "tensorflow" {} }}'


def test_a_model_with_all_it_can_have():
    text = MODEL.format(
        'version_labels { key: "stable" value: 7 } version_labels { key: "canary" value: -1 }'
    )
    (model,) = model_config.parse(_list(text))
    assert (model.name, model.base_path) == ("a", Path("/m/a"))
    assert model.labels == {"stable": 7, "canary": -1}


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("", {3}),
        ("model_version_policy {}", {3}),
        ("model_version_policy { latest {} }", {3}),
        ("model_version_policy { latest { num_versions: 2 } }", {2, 3}),
        ("model_version_policy { all {} }", {1, 2, 3}),
        ("model_version_policy { specific { versions: 1 versions: 3 } }", {1, 3}),
        ("model_version_policy { specific {} }", set()),
    ],
)
def test_row_29_policies_as_the_file_spells_them(policy, wanted):
    (model,) = model_config.parse(_list(MODEL.format(policy)))
    assert model.policy([1, 2, 3]) == wanted


def test_the_deprecated_model_type_stands_for_tensorflow():
    (model,) = model_config.parse(
        _list('config { name: "a" base_path: "/m" model_type: TENSORFLOW }')
    )
    assert model.name == "a"


def test_a_file_uri_is_a_path_and_other_file_systems_are_not_there():
    text = 'config {{ name: "a" base_path: "{}" model_platform: "tensorflow" }}'
    (model,) = model_config.parse(_list(text.format("file:///m/a")))
    assert model.base_path == Path("/m/a")
    with pytest.raises(ServingError) as caught:
        model_config.parse(_list(text.format("gs://bucket/a")))
    assert caught.value.code.name == "UNIMPLEMENTED"
    assert caught.value.message == "File system scheme 'gs' not implemented (file: 'gs://bucket/a')"


def test_there_is_a_limit_to_the_number_of_models():
    config = model_server_config_pb2.ModelConfigList()
    for number in range(1001):
        config.config.add(name=str(number), base_path="/m", model_platform="tensorflow")
    with pytest.raises(ServingError, match="1001 models in config list; at most 1000"):
        model_config.parse(config)


def test_a_zero_byte_in_a_path_is_an_error():
    with pytest.raises(ServingError) as caught:
        model_config.parse(
            _list('config { name: "a" base_path: "/m\\000" model_platform: "tensorflow" }')
        )
    assert caught.value.code.name == "INVALID_ARGUMENT"


@given(
    st.text(max_size=8),
    st.text(max_size=12),
    st.sampled_from(["", "tensorflow", "other"]),
    st.integers(0, 9),
)
def test_whatever_is_asked_for_is_a_value_or_a_serving_error(name, path, platform, kind):
    config = model_server_config_pb2.ModelConfigList()
    config.config.add(name=name, base_path=path, model_platform=platform, model_type=kind)
    try:
        (model,) = model_config.parse(config)
    except ServingError as error:
        refused = error
    else:
        assert model.base_path.is_absolute()
        return
    assert refused.code.name in ("INVALID_ARGUMENT", "UNIMPLEMENTED")
