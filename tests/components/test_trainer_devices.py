"""Devices and arithmetic: several replicas learn the same, half precision stays inside."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from music.codec import BOUNDARY, NotesCodec
from music.vocabulary import build_vocabulary
from music.windows import WindowSpec

REPOSITORY = Path(__file__).parents[2]
# Two halves of the processor as two devices; only where they come from is not real.
TWO_DEVICES = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from components.trainer import devices
from components.trainer.settings import TrainerSettings
from components.trainer.training import fit
from music.vocabulary import Vocabulary

settings, vocabulary, train, held_out, kept = json.loads(sys.argv[1])
devices.accelerators = lambda: [device.name for device in tf.config.list_logical_devices("CPU")]
assert devices.choose_strategy().num_replicas_in_sync == 2
fitted = fit(
    TrainerSettings.from_dict(settings), Vocabulary.from_json(vocabulary), train, held_out,
    checkpoint_dir=kept,
)
print(json.dumps([(epoch.loss, epoch.nats) for epoch in fitted.history.epochs]))
"""


def settings(**training):
    from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings

    # Slow enough that last digits do not grow into other weights.
    given = {"batch_size": 4, "epochs": 2, "learning_rate": 0.002, **training}
    return TrainerSettings(
        ModelSettings(units=(12, 16, 12), dense=16, embedding=8, dropout=0.0),
        TrainingSettings(**given),
        WindowSpec(8),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_windows):
    """A vocabulary, and patterns of the splits.

    Some windows are short, and of the only batch of held-out windows one replica gets
    all: what replicas have to weigh alike.
    """
    folder, songs = tmp_path_factory.mktemp("windows"), []
    for number in range(14):
        places = np.arange(33) * (1 + number % 3) + number
        columns = [np.array(codes)[places % 4] for codes in ((0, 6, 12, 24), (60, 64, 67, 72))]
        songs.append(np.stack([*columns, columns[0] + 6], axis=1).astype(np.int32))
        songs[-1][0] = (0, BOUNDARY, 0)
    counts = [{int(code): 9 for code in np.unique(np.stack(songs)[..., f])} for f in range(3)]
    known = build_vocabulary(NotesCodec(), counts, min_count=2)
    cuts = write_windows(folder / "train" / "w.gz", songs[:11], known, WindowSpec(8))
    assert len(cuts) == 44
    write_windows(folder / "eval" / "w.gz", songs[11:], known, WindowSpec(8))
    return known, [str(folder / "train" / "*")], [str(folder / "eval" / "*")]


@pytest.fixture(scope="module")
def alone(data):
    """(loss, nats) of every epoch on one device."""
    from components.trainer.training import fit

    return curve(fit(settings(), *data))


def curve(fitted):
    return [(epoch.loss, epoch.nats) for epoch in fitted.history.epochs]


@pytest.mark.slow
def test_two_replicas_learn_what_one_does(data, alone, tmp_path):
    known, train, held_out = data
    arguments = [settings().to_dict(), known.to_json(), train, held_out, str(tmp_path / "kept")]
    ran = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, json.dumps(arguments)],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    np.testing.assert_allclose(found, alone, rtol=5e-4)
    assert list((tmp_path / "kept").iterdir())


def test_several_steps_a_call_are_the_same_steps(data, alone):
    from components.trainer.training import fit

    # 11 steps an epoch: the last call has fewer.
    found = curve(fit(settings(steps_per_execution=4), *data))
    np.testing.assert_allclose(found, alone, rtol=1e-5)


def test_half_precision_stays_inside_the_training(data, alone, tmp_path, load):
    import keras

    from components.trainer.export import export
    from components.trainer.inference import InferenceModel
    from components.trainer.network import extract_weights
    from components.trainer.training import fit

    known, _, _ = data
    chosen = settings(precision="bfloat16")
    fitted = fit(chosen, *data)
    assert keras.config.dtype_policy().name == "float32"
    network = fitted.network
    assert network.get_layer("lstm_2").compute_dtype == "bfloat16"
    assert network.get_layer("head_1").compute_dtype == "float32"
    assert {weight.dtype for weight in network.weights} == {"float32"}
    found = curve(fitted)
    np.testing.assert_allclose(found, alone, rtol=0.05)
    assert found != alone
    # What is served is float32 and runs anywhere.
    weights = extract_weights(network, chosen.model)
    model = InferenceModel(weights, chosen.model, chosen.window, known)
    export(model, {}, str(tmp_path / "model"))
    served = load(tmp_path / "model")
    events = np.array([[[0, BOUNDARY, 0], [6, 64, 12]]], np.int32)
    rows = {
        "temperature": np.float32([0]), "top_k": np.int32([0]), "top_p": np.float32([1]),
        "may_end": np.array([False]), "seed": np.int64([1]), "position": np.int32([2]),
    }  # fmt: skip
    answer = served("predict_next", events=events, **rows)
    assert answer["log_prob"].dtype == np.float32
    assert np.isfinite(answer["log_prob"]).all()


def test_the_loss_is_scaled_for_float16_alone():
    import keras

    from components.trainer import devices

    for precision, scaled in (("float16", True), ("bfloat16", False), ("float32", False)):
        with devices.building(precision):
            network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
            network.compile("adam", "mse")
        assert (type(network.optimizer).__name__ == "LossScaleOptimizer") == scaled
    assert keras.config.dtype_policy().name == "float32"


def test_the_policy_comes_back_from_a_network_that_cannot_be_built():
    import keras

    from components.trainer import devices

    with pytest.raises(ZeroDivisionError), devices.building("bfloat16"):
        raise ZeroDivisionError
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("told", "fast"),
    [
        ("flags\t: fpu avx512f avx512_bf16 rdpid", True),
        ("flags\t: fpu amx_bf16 amx_tile", True),
        ("flags\t: fpu avx512f avx512_bf16x", False),
        (None, False),
    ],
)
def test_auto_is_half_precision_where_the_device_multiplies_it(monkeypatch, tmp_path, told, fast):
    import tensorflow as tf

    from components.trainer import devices

    if told is not None:
        (tmp_path / "cpuinfo").write_text(told)
    assert devices._multiplies_bfloat16(tmp_path / "cpuinfo") == fast
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(devices, "_multiplies_bfloat16", lambda: fast)
    assert devices.policy_name("auto") == ("mixed_bfloat16" if fast else "float32")
    for capability, policy in (((6, 1), "float32"), ((7, 0), "mixed_float16")):
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
        monkeypatch.setattr(
            tf.config.experimental,
            "get_device_details",
            lambda gpu, capability=capability: {"compute_capability": capability},
        )
        assert devices.policy_name("auto") == policy
    assert devices.policy_name("bfloat16") == "mixed_bfloat16"
