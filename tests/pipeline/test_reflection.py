"""A pushed model, called by a client that knows only what the server itself tells.

It has TensorFlow Serving's documented APIs to go by, none of their messages and none
of our code: services and messages come by reflection, the signatures by
GetModelMetadata, and what the numbers mean by the model's own `describe`.
"""

from __future__ import annotations

import json

import pytest

PREDICTION = "tensorflow.serving.PredictionService"
# TensorProto's dtypes, and the field of each one's values.
VALUES = {1: "float_val", 3: "int_val", 7: "string_val", 9: "int64_val", 10: "bool_val"}


@pytest.fixture
def model(reflect, target):
    return reflect(target)


@pytest.fixture
def signatures(model):
    answer = model.call(
        PREDICTION,
        "GetModelMetadata",
        model_spec={"name": "segue"},
        metadata_field=["signature_def"],
    )
    signatures = model.message("tensorflow.serving.SignatureDefMap")
    signatures.ParseFromString(answer.metadata["signature_def"].value)
    return signatures.signature_def


@pytest.fixture
def predict(model, signatures):
    """predict(signature, name=(shape, values), ...): the outputs, dtypes as the signature says."""

    def predict(signature, **given):
        tensors = {}
        for name, (shape, values) in given.items():
            dtype = signatures[signature].inputs[name].dtype
            tensors[name] = model.message(
                "tensorflow.TensorProto",
                dtype=dtype,
                tensor_shape={"dim": [{"size": size} for size in shape]},
                **{VALUES[dtype]: values},
            )
        spec = {"name": "segue", "signature_name": signature}
        return model.call(PREDICTION, "Predict", model_spec=spec, inputs=tensors).outputs

    return predict


def test_it_finds_the_six_signatures(signatures):
    assert set(signatures) >= {
        "serving_default",
        "predict_next",
        "generate",
        "resume",
        "step",
        "describe",
    }


def test_it_asks_the_model_what_it_is(predict):
    values = predict("describe", keys=((2,), [b"codec", b"limits"]))["values"].string_val
    codec, limits = (json.loads(value) for value in values)
    assert codec["name"] == "notes"
    assert limits["max_steps"] >= 250


def test_it_makes_a_song(predict, signatures):
    fields = signatures["generate"].inputs["prime"].tensor_shape.dim[2].size
    # One quarter note after the other: steps and durations in ticks, 24 to the quarter.
    notes = [[24, 60, 24], [24, 62, 24], [24, 64, 24]]
    assert fields == len(notes[0])
    asked = {
        "prime": ((1, 3, 3), [code for note in notes for code in note]),
        "prime_length": ((1,), [3]),
        "steps": ((1,), [16]),
        "temperature": ((1,), [1.0]),
        "top_k": ((1,), [0]),
        "top_p": ((1,), [1.0]),
        "may_end": ((1,), [False]),
        "seed": ((1,), [7]),
        "position": ((1,), [3]),
    }
    assert set(asked) == set(signatures["generate"].inputs)
    made = predict("generate", **asked)
    assert [dim.size for dim in made["events"].tensor_shape.dim] == [1, 16, 3]
    pitches = made["events"].int_val[1::3]
    assert len(pitches) == 16
    assert all(0 <= pitch <= 127 for pitch in pitches)
    assert all(log_prob <= 0 for log_prob in made["log_prob"].float_val)
    assert list(predict("generate", **asked)["events"].int_val) == list(made["events"].int_val)
    another = predict("generate", **{**asked, "seed": ((1,), [8])})
    assert list(another["events"].int_val) != list(made["events"].int_val)
