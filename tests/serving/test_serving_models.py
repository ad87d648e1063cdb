"""Several models, their policies and labels: at the start, and changed while serving."""

import shutil
import threading
from concurrent import futures

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from music.errors import SegueError
from serving.config import ServerConfig
from serving.server import ModelServer

# ---- conformance: one process, reconfigured by each test ---------------------


@pytest.fixture(scope="module")
def folders(toys, tmp_path_factory):
    """Base paths: `a` has versions 1, 2, 3 (factors 2, 3, 2), `b` has 5; `broken` is damaged."""
    root = tmp_path_factory.mktemp("models")
    for name, version, factor in (
        ("a", 1, 2), ("a", 2, 3), ("a", 3, 2), ("b", 5, 3),
    ):  # fmt: skip
        shutil.copytree(toys[factor], root / name / str(version))
    (root / "broken" / "1").mkdir(parents=True)
    return root


@pytest.fixture(scope="module")
def address(launch, folders, server_config, tmp_path_factory):
    """A server of `a` and `b`."""
    file = tmp_path_factory.mktemp("config") / "models.config"
    file.write_text(str(server_config(a=folders / "a", b=folders / "b")))
    return launch(f"--model_config_file={file}", "--max_num_load_retries=0").address


@pytest.fixture
def caller(address, connect):
    return connect(address)


def _reload(client, config, timeout=60):
    request = model_management_pb2.ReloadConfigRequest(config=config)
    return client.model.HandleReloadConfigRequest(request, timeout=timeout)


@pytest.fixture
def reload(caller, server_config, folders):
    """reload(name=..., ...): replaces the configuration; it is `a` and `b` to begin with."""

    def reload(**models):
        return _reload(caller, server_config(**models))

    reload(a=folders / "a", b=folders / "b")
    return reload


def _available(client, model):
    return {version for version, state, _ in client.statuses(model) if state == 30}


def _by_label(client, label, model="a"):
    request = client.request({"x": [1.0]}, "one", model=model)
    request.model_spec.version_label = label
    return client.prediction.Predict(request, timeout=20)


def test_row_20_each_model_answers_under_its_name(caller, reload):
    assert caller.one(1.0, model="a") == (2.0, 3)
    assert caller.one(1.0, model="b") == (3.0, 5)


def test_row_20_a_reload_replaces_the_whole_configuration(
    caller, reload, folders, eventually, fails
):
    response = reload(a=folders / "a", c=folders / "b")
    assert (response.status.error_code, response.status.error_message) == (0, "")
    # The new model is available when the answer is there; nobody has to wait.
    assert caller.one(1.0, model="c") == (3.0, 5)
    assert caller.one(1.0, model="a") == (2.0, 3)
    eventually(lambda: caller.statuses("b") == [(5, 50, 0)])
    assert (
        fails("NOT_FOUND", caller.one, 1.0, model="b")
        == "Servable not found for request: Latest(b)"
    )


def test_row_20_a_model_that_was_left_out_comes_back(caller, reload, folders, eventually):
    reload(a=folders / "a")
    eventually(lambda: not _available(caller, "b"))
    reload(a=folders / "a", b=folders / "b")
    assert caller.one(1.0, model="b") == (3.0, 5)


def test_row_20_an_empty_list_unloads_everything(caller, reload, eventually):
    reload()
    eventually(lambda: not _available(caller, "a") and not _available(caller, "b"))


def test_row_20_a_new_model_that_does_not_load_is_told_and_harms_no_other(
    caller, folders, reload, fails
):
    with pytest.raises(grpc.RpcError) as caught:
        reload(a=folders / "a", broken=folders / "broken")
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert caught.value.details().startswith(
        "1 model(s) did not become available: {{{name: broken version: 1} due to error: "
        "NOT_FOUND: Could not find SavedModel"
    )
    assert caller.statuses("broken") == [(1, 50, 5)]
    assert caller.one(1.0, model="a") == (2.0, 3)


_NO_LIST = (
    "ServerModelConfig type not supported by HandleReloadConfigRequest. "
    "Only ModelConfigList is currently supported"
)


def test_row_21_without_a_list(caller, reload, fails):
    custom = model_server_config_pb2.ModelServerConfig()
    custom.custom_model_config.type_url = "nobody/knows"
    for config in (model_server_config_pb2.ModelServerConfig(), custom):
        assert fails("INVALID_ARGUMENT", _reload, caller, config) == _NO_LIST


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a"}, "Illegal to list model a multiple times in config list"),
        (
            {"base_path": "models/d"},
            "Expected model d to have an absolute path or URI; got base_path()=models/d",
        ),
        (
            {"base_path": ""},
            "Expected model d to have an absolute path or URI; got base_path()=",
        ),
        (
            {"model_platform": ""},
            "Illegal setting neither ModelServerConfig::model_type (deprecated) "
            "nor ModelServerConfig::model_platform.",
        ),
        (
            {"model_type": 1},
            "Illegal setting both ModelServerConfig::model_type (deprecated) "
            "and ModelServerConfig::model_platform.",
        ),
        (
            {"model_platform": "", "model_type": 2},
            "ModelServerConfig::model_type choice 2 not supported.",
        ),
        ({"model_platform": "pytorch"}, "Model d requests unsupported platform pytorch"),
    ],
)
def test_row_21_a_list_that_is_refused_changes_nothing(
    caller, reload, folders, server_config, fails, changes, message
):
    config = server_config(a=folders / "a", d=(folders / "b", {}))
    for field, value in changes.items():
        setattr(config.model_config_list.config[1], field, value)
    assert fails("INVALID_ARGUMENT", _reload, caller, config) == message
    assert caller.one(1.0, model="b") == (3.0, 5)  # left out, were it in force


def test_row_21_a_platform_cannot_change(caller, reload, folders, server_config, fails):
    config = server_config(a=(folders / "a", {"model_platform": "pytorch"}))
    assert fails("INVALID_ARGUMENT", _reload, caller, config) == (
        "Illegal to change a model's platform. For model a platform was tensorflow "
        "and new platform requested is pytorch"
    )


def test_row_21_a_label_on_a_version_that_is_not_available(
    caller, reload, folders, server_config, fails
):
    config = server_config(a=(folders / "a", {"version_labels": {"stable": 1}}))
    assert fails("FAILED_PRECONDITION", _reload, caller, config) == (
        "Request to assign label to version 1 of model a, "
        "which is not currently available for inference"
    )
    assert caller.one(1.0, model="b") == (3.0, 5)
    assert (
        fails("INVALID_ARGUMENT", _by_label, caller, "stable")
        == "Unrecognized servable version label: stable"
    )


@pytest.fixture
def labelled(caller, reload, folders, eventually):
    """Versions 1, 2 and 3 of `a`, with labels on 1 and 3."""
    everything = {"policy": ("all",)}
    reload(a=(folders / "a", everything))
    eventually(lambda: _available(caller, "a") == {1, 2, 3})
    reload(a=(folders / "a", everything | {"version_labels": {"stable": 1, "canary": 3}}))


def test_row_06_a_label_stands_for_its_version(caller, labelled, fails):
    response = _by_label(caller, "stable")
    assert (response.model_spec.name, response.model_spec.version.value) == ("a", 1)
    assert not response.model_spec.version_label
    assert list(response.outputs["y"].float_val) == [2.0]
    assert _by_label(caller, "canary").model_spec.version.value == 3
    assert (
        fails("INVALID_ARGUMENT", _by_label, caller, "beta")
        == "Unrecognized servable version label: beta"
    )
    assert (
        fails("INVALID_ARGUMENT", _by_label, caller, "stable", model="b")
        == "Unrecognized servable version label: stable"
    )


def test_row_06_metadata_by_label(caller, labelled):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "a"
    request.model_spec.version_label = "stable"
    response = caller.prediction.GetModelMetadata(request, timeout=20)
    assert response.model_spec.version.value == 1


def test_row_06_status_does_not_look_at_labels(caller, labelled):
    spec = model_pb2.ModelSpec(name="a", version_label="nobody knows it")
    request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
    answer = caller.model.GetModelStatus(request, timeout=20)
    assert {s.version for s in answer.model_version_status} >= {1, 2, 3}


def test_row_06_a_label_moves_with_a_reload(caller, labelled, reload, folders, fails):
    reload(a=(folders / "a", {"policy": ("all",), "version_labels": {"stable": 2}}))
    assert _by_label(caller, "stable").model_spec.version.value == 2
    assert (
        fails("INVALID_ARGUMENT", _by_label, caller, "canary")
        == "Unrecognized servable version label: canary"
    )


def test_row_06_a_label_whose_version_was_unloaded(
    caller, labelled, reload, folders, eventually, fails
):
    only_two = {"policy": ("specific", 2), "version_labels": {"stable": 1}}
    reload(a=(folders / "a", only_two))
    eventually(lambda: _available(caller, "a") == {2})
    assert (
        fails("NOT_FOUND", _by_label, caller, "stable")
        == "Servable not found for request: Specific(a, 1)"
    )


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (("all",), {1, 2, 3}),
        (("latest", 0), {3}),
        (("latest", 1), {3}),
        (("latest", 2), {2, 3}),
        (("latest", 9), {1, 2, 3}),
        (("specific", 1, 3), {1, 3}),
        (("specific", 2, 77), {2}),
    ],
)
def test_row_29_policies_change_while_serving(
    caller, reload, folders, eventually, policy, wanted, fails
):
    reload(a=(folders / "a", {"policy": policy}))
    eventually(lambda: _available(caller, "a") == wanted)
    for version in (1, 2, 3):
        if version in wanted:
            assert caller.one(1.0, model="a", version=version)[1] == version
        else:
            assert (
                fails("NOT_FOUND", caller.one, 1.0, model="a", version=version)
                == f"Servable not found for request: Specific(a, {version})"
            )
    assert caller.one(1.0, model="a")[1] == max(wanted)


def test_row_32_a_change_of_policy_is_not_noticed_by_callers(caller, reload, folders, eventually):
    running = threading.Event()
    running.set()
    seen = []

    def call():
        while running.is_set():
            seen.append(caller.one(1.0, model="a")[1])

    with futures.ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(call) for _ in range(2)]
        try:
            for version in (1, 2, 3):
                reload(a=(folders / "a", {"policy": ("specific", version)}))
                eventually(lambda version=version: seen and seen[-1] == version)
                eventually(lambda version=version: _available(caller, "a") == {version})
        finally:
            running.clear()
    for done in calls:
        done.result()  # no call failed


def test_row_34_a_model_that_does_not_load_ends_the_process(
    launch, folders, server_config, tmp_path
):
    file = tmp_path / "models.config"
    file.write_text(str(server_config(a=folders / "a", broken=folders / "broken")))
    server = launch(f"--model_config_file={file}", "--max_num_load_retries=0", wait=False)
    assert server.process.wait(60) != 0
    assert "Could not find SavedModel" in server.log.read_text()


def test_row_19_status_of_models_that_are_not_there(caller, reload, fails):
    assert (
        fails("NOT_FOUND", caller.statuses, "nobody")
        == "Could not find any versions of model nobody"
    )
    spec = model_pb2.ModelSpec(name="b")
    spec.version.value = 6
    request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
    assert (
        fails("NOT_FOUND", caller.model.GetModelStatus, request, timeout=20)
        == "Could not find version 6 of model b"
    )


# ---- ours alone, in this process --------------------------------------------


@pytest.fixture
def write(tmp_path, server_config):
    """write(name=..., ...): the path of a configuration file."""

    def write(**models):
        path = tmp_path / "models.config"
        path.write_text(str(server_config(**models)))
        return path

    return write


def test_row_34_start_blocks_until_every_model_has_a_version(serve, write, folders, connect):
    seen = {}

    class Watching(ModelServer):
        def _open(self, models):
            seen.update(models.available())
            super()._open(models)

    path = write(a=folders / "a", b=folders / "b")
    with Watching(ServerConfig(model_config_file=path, port=0)) as server:
        assert seen == {"a": 3, "b": 5}
        assert connect(server).one(1.0, model="b") == (3.0, 5)
        assert server.manager.name == "a"


def test_row_34_one_model_that_does_not_load_ends_the_start(write, folders):
    path = write(a=folders / "a", broken=folders / "broken")
    config = ServerConfig(model_config_file=path, port=0, max_num_load_retries=0)
    with pytest.raises(SegueError) as caught:
        ModelServer(config).start()
    assert str(caught.value).startswith(
        f"model broken in {folders / 'broken'} does not load: NOT_FOUND: Could not find SavedModel"
    )


def test_a_policy_that_wants_none_of_the_versions_is_one_line(write, folders):
    path = write(a=(folders / "a", {"policy": ("specific", 8)}))
    with pytest.raises(SegueError) as caught:
        ModelServer(ServerConfig(model_config_file=path, port=0)).start()
    assert str(caught.value) == (
        f"no model at {folders / 'a'}: none of the versions that model_version_policy names "
        "is there, only 1, 2, 3"
    )


def test_row_06_labels_at_the_first_start_need_the_flag(serve, write, folders, connect, fails):
    path = write(a=(folders / "a", {"version_labels": {"stable": 3, "next": 4}}))
    config = ServerConfig(model_config_file=path, port=0)
    with pytest.raises(SegueError, match="--allow_version_labels_for_unavailable_models"):
        ModelServer(config).start()
    client = connect(
        serve(model_config_file=path, allow_version_labels_for_unavailable_models=True)
    )
    assert _by_label(client, "stable").model_spec.version.value == 3
    assert (
        fails("NOT_FOUND", _by_label, client, "next")
        == "Servable not found for request: Specific(a, 4)"
    )


def test_row_06_the_flag_does_not_let_a_label_move_blindly(
    serve, write, folders, connect, fails, server_config
):
    path = write(a=(folders / "a", {"version_labels": {"stable": 3}}))
    client = connect(
        serve(model_config_file=path, allow_version_labels_for_unavailable_models=True)
    )
    moved = server_config(a=(folders / "a", {"version_labels": {"stable": 4}}))
    assert "which is not currently available" in fails(
        "FAILED_PRECONDITION", _reload, client, moved
    )
    both = {"stable": 3, "next": 4}
    _reload(client, server_config(a=(folders / "a", {"version_labels": both})))
    assert _by_label(client, "stable").model_spec.version.value == 3


def test_a_server_may_start_without_models_and_get_them_later(
    serve, write, connect, server_config, folders, fails
):
    client = connect(serve(model_config_file=write()))
    fails("NOT_FOUND", client.one, 1.0, model="a")
    _reload(client, server_config(a=folders / "a"))
    assert client.one(1.0, model="a") == (2.0, 3)


def test_a_reload_ends_when_its_caller_has_gone(
    serve, write, connect, server_config, folders, tmp_path, fails
):
    client = connect(serve(model_config_file=write(a=folders / "a")))
    (tmp_path / "empty").mkdir()
    waiting = server_config(a=folders / "a", empty=tmp_path / "empty")
    fails("DEADLINE_EXCEEDED", _reload, client, waiting, timeout=0.5)
    # Were the first one still waiting, this one could not begin.
    _reload(client, server_config(a=folders / "a"), timeout=20)


def test_a_long_call_outlives_its_model(
    serve, write, connect, server_config, folders, eventually, fails
):
    server = serve(model_config_file=write(a=folders / "a", b=folders / "b"))
    client = connect(server)
    request = client.request({"n": np.int32(100_000)}, "slow", model="b")
    long = client.prediction.Predict.future(request, timeout=60)
    eventually(lambda: server.models.manager("b").calls)
    _reload(client, server_config(a=folders / "a"))
    fails("NOT_FOUND", client.one, 1.0, model="b")
    assert long.result().outputs["n"].int_val[0] == 100_000
    eventually(lambda: client.statuses("b") == [(5, 50, 0)])


def test_names_of_former_models_do_not_pile_up(serve, write, folders, monkeypatch, eventually):
    monkeypatch.setattr("serving.models.MAX_MODELS", 2)
    from serving.model_config import ModelConfig

    server = serve(model_config_file=write())
    for number in range(6):
        assert server.models.reload([ModelConfig(f"m{number}", folders / "b")])
        former = [server.models.manager(f"m{n}") for n in range(max(0, number - 1), number)]
        eventually(lambda former=former: all(m.latest_available() is None for m in former))
        eventually(lambda former=former: all(s.state == 50 for m in former for s in m.statuses()))
    assert server.models.reload([])
    known = [n for n in range(6) if f"m{n}" in server.models._managers]
    assert len(known) <= 4
    assert 5 in known
