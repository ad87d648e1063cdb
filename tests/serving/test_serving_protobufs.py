"""What stands between Segue and the releases of protobuf."""

import subprocess
import sys

import pytest
from google.protobuf import descriptor_pool
from tensorflow_serving.apis import get_model_status_pb2 as status_pb2

from serving import protobufs, services


def test_reflection_finds_the_services_and_their_methods():
    pool = descriptor_pool.Default()
    prediction, models = map(pool.FindServiceByName, services.SERVICE_NAMES)
    assert [service.full_name for service in (prediction, models)] == [
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
    ]
    assert [method.name for method in prediction.methods] == [
        "Classify",
        "Regress",
        "Predict",
        "MultiInference",
        "GetModelMetadata",
    ]
    reload = models.methods_by_name["HandleReloadConfigRequest"]
    assert reload.input_type.full_name == "tensorflow.serving.ReloadConfigRequest"
    assert reload.output_type.full_name == "tensorflow.serving.ReloadConfigResponse"


def test_another_file_of_that_name_is_refused():
    methods = {"Other": (status_pb2.GetModelStatusRequest, status_pb2.GetModelStatusResponse)}
    with pytest.raises(TypeError):
        protobufs.declare_service(
            "tensorflow_serving/apis/model_service.proto", "ModelService", methods
        )


@pytest.mark.parametrize("ours_first", [True, False])
def test_the_generated_services_are_the_same_ones(ours_first: bool):
    """Where protobuf still takes tensorflow-serving-api's own declaration, in either order."""
    imports = [
        "from serving import services",
        "from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2",
    ]
    if not ours_first:
        imports.reverse()
    told = subprocess.run(
        [sys.executable, "-c", "; ".join([*imports, "print(*services.SERVICE_NAMES)"])],
        capture_output=True,
        text=True,
        check=False,
    )
    if "is not writable" in told.stderr:
        pytest.skip("this protobuf refuses tensorflow-serving-api's own modules")
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == list(services.SERVICE_NAMES)
