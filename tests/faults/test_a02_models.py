"""A02: a model that runs code when it is loaded. It is refused with 7 unless it is trusted, and nothing of it runs."""

from __future__ import annotations

import functools
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.fx
import yaml
from cli.support import error_and_hint, in_process
from torch import Tensor, nn

from agentnn import ModelManager
from agentnn.errors import AgentNNError, AgentNNWarning, UnsafeError, UsageError
from agentnn.tracking.models.model_files import build_model_folder
from agentnn.tracking.models.torch_modules import load_module, save_module

if TYPE_CHECKING:
    from collections.abc import Callable

EXECUTED = "executed"
COMMAND = f"touch {EXECUTED}"


class Calls:
    """Pickled as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


class Trap(nn.Module):
    """A module class of this process that acts in all ways in which unpickling could wake it."""

    def __new__(cls, *arguments: Any) -> Trap:
        if arguments:
            Path(EXECUTED).touch()
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        Path(EXECUTED).touch()
        super().__init__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        Path(EXECUTED).touch()
        super().__setstate__(state)


class Own(nn.Module):
    """A class that the caller hands in; to make one costs something."""

    def __init__(self, *_: Any) -> None:
        Path(EXECUTED).touch()
        super().__init__()

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


def with_attribute(value: Any) -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 1))
    vars(module[0])["payload"] = value
    return module


def with_hook(value: Any, kind: str = "_forward_pre_hooks") -> nn.Module:
    module = nn.Linear(2, 1)
    vars(module)[kind] = OrderedDict({0: value})
    return module


def traced() -> nn.Module:
    return torch.fx.symbolic_trace(nn.Sequential(nn.Linear(2, 1)))


def trap() -> nn.Module:
    module = Trap.__new__(Trap)
    nn.Module.__init__(module)
    return module


PAYLOADS: dict[str, Callable[[], Any]] = {
    "os.system": lambda: Calls(os.system, COMMAND),
    "os.system in a module": lambda: with_attribute(Calls(os.system, COMMAND)),
    "os.system among the weights": lambda: {"weight": Calls(os.system, COMMAND)},
    "eval": lambda: with_attribute(Calls(eval, f"open({EXECUTED!r}, 'w')")),
    "exec": lambda: with_attribute(Calls(exec, f"open({EXECUTED!r}, 'w')")),
    "open": lambda: with_attribute(Calls(open, EXECUTED, "w")),
    "a hook": lambda: with_hook(os.system),
    "a hook that is bound": lambda: with_hook(functools.partial(os.system, COMMAND)),
    "a hook for the state": lambda: with_hook(os.system, "_load_state_dict_pre_hooks"),
    "a hook of this package": lambda: with_hook(save_module),
    "forward itself": lambda: with_attribute({"forward": eval}),
    "getattr": lambda: with_attribute(Calls(getattr, Path(EXECUTED), "touch")),
    "getattr of a tensor function": lambda: with_attribute(
        [torch.relu, Calls(getattr, torch._C._VariableFunctionsClass, "from_file")]
    ),
    "getattr of a module": lambda: with_attribute([torch.relu, Calls(getattr, nn.Identity(), "to_empty")]),
    "torch.load": lambda: with_attribute(Calls(torch.load, EXECUTED)),
    "torch.hub": lambda: with_attribute(Calls(torch.hub.load, ".", "model")),
    "the constructor of torch's class": lambda: with_attribute(Calls(nn.Linear, 2, 1)),
    "the constructor of a class that is handed in": lambda: Calls(Own, "argument"),
    "a class of this process": trap,
    "a class of this process in a module": lambda: nn.Sequential(nn.Linear(2, 1), trap()),
    "its constructor": lambda: Calls(Trap),
    "a module that compiles its state": traced,
    "torch's own wrapper": lambda: nn.DataParallel(nn.Linear(2, 1)),
    "another pickle": lambda: with_attribute(Calls(pickle.loads, pickle.dumps(Calls(os.system, COMMAND)))),
    "an array": lambda: with_attribute(np.array([Calls(os.system, COMMAND)], dtype=object)),
}


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A working directory in which every payload would leave a file."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / EXECUTED).exists()


def crafted(tmp_path: Path, payload: Any) -> Path:
    """A directory as save_module writes it, with another file in it."""
    saved = tmp_path / "saved"
    save_module(saved, nn.Linear(2, 1), input_example=np.ones((1, 2)))
    torch.save(payload, saved / "model.pth")
    (tmp_path / EXECUTED).unlink(missing_ok=True)
    return saved


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_file_that_calls_something_is_refused_and_nothing_of_it_runs(name: str, tmp_path: Path):
    saved = crafted(tmp_path, PAYLOADS[name]())
    with pytest.raises(UnsafeError):
        load_module(saved, classes=[Own])
    assert not (tmp_path / EXECUTED).exists()


@pytest.mark.parametrize("name", ["os.system", "os.system in a module", "eval", "open", "a class of this process"])
def test_the_payloads_do_run_when_they_are_trusted(name: str, tmp_path: Path):
    """Or else these tests would prove nothing."""
    saved = crafted(tmp_path, PAYLOADS[name]())
    with suppress(AgentNNError):
        load_module(saved, trust=True)
    assert (tmp_path / EXECUTED).exists()
    (tmp_path / EXECUTED).unlink()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", range(6))
def test_a_bare_pickle_is_refused(protocol: int, tmp_path: Path):
    saved = crafted(tmp_path, nn.Linear(2, 1))
    (saved / "model.pth").write_bytes(pickle.dumps(Calls(os.system, COMMAND), protocol=protocol))
    with pytest.raises(UnsafeError):
        load_module(saved)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_any_protocol_in_torch_s_archive_is_refused(protocol: int, tmp_path: Path):
    saved = crafted(tmp_path, nn.Linear(2, 1))
    with zipfile.ZipFile(saved / "model.pth") as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(saved / "model.pth", "w") as archive:
        for name, content in records.items():
            is_pickle = name.endswith("data.pkl")
            archive.writestr(name, pickle.dumps(Calls(os.system, COMMAND), protocol=protocol) if is_pickle else content)
    with pytest.raises(UnsafeError):
        load_module(saved)


def test_a_class_that_is_handed_in_gets_its_state_and_is_not_called(tmp_path: Path):
    own = Own.__new__(Own)
    nn.Module.__init__(own)
    own.size = 3
    saved = crafted(tmp_path, own)
    loaded = load_module(saved, classes=[Own])
    assert (type(loaded), loaded.size) == (Own, 3)


# -- in MLflow's folder ------------------------------------------------------------------------------------


def model_in_store(uri: str, tmp_path: Path, change: Callable[[dict[str, Any], Path], None] | None = None) -> str:
    """Log a model's folder as an artifact of a run, changed by an attacker before; gives its URI."""
    from mlflow import MlflowClient

    saved = tmp_path / "saved"
    if not saved.exists():
        save_module(saved, nn.Sequential(nn.Linear(2, 1), nn.Tanh()), input_example=np.ones((3, 2)))
    build_model_folder(saved, tmp_path / "model")
    description = yaml.safe_load((tmp_path / "model" / "MLmodel").read_text())
    if change is not None:
        change(description, tmp_path / "model")
        (tmp_path / "model" / "MLmodel").write_text(yaml.safe_dump(description))
    client = MlflowClient(uri)
    experiment = client.create_experiment("a02", artifact_location=(tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment)
    client.log_artifacts(run.info.run_id, str(tmp_path / "model"), "model")
    return f"runs:/{run.info.run_id}/model"


def test_our_format_loads_from_a_store_without_trust_and_trains(uri: str, tmp_path: Path):
    model = model_in_store(uri, tmp_path)
    manager = ModelManager(uri)
    check = manager.check_model(model)
    assert (check.flavors, check.example_rows) == (("python_function", "pytorch"), 3)
    module = manager.load_module(model)
    expected = module(torch.ones(3, 2)).detach().numpy()
    np.testing.assert_array_equal(np.array(check.prediction, dtype=np.float32), expected)
    np.testing.assert_array_equal(manager.load_model(model, trust=False).predict(np.ones((3, 2))), expected)
    module.train()(torch.ones(3, 2)).sum().backward()
    assert all(one.grad is not None for one in module.parameters())


def test_a_crafted_file_in_a_store_is_7_on_the_command_line(uri: str, tmp_path: Path):
    crafted(tmp_path, with_attribute(Calls(os.system, COMMAND)))
    model = model_in_store(uri, tmp_path)
    ran = in_process("--tracking-uri", uri, "model", "load", model, cwd=tmp_path)
    error, hint = error_and_hint(ran.stderr)
    assert (ran.returncode, ran.stdout) == (7, "")
    assert "posix.system" in error
    assert "--trust" in hint
    assert not (tmp_path / EXECUTED).exists()
    with pytest.raises(UnsafeError, match=r"posix\.system"):
        ModelManager(uri).load_module(model)


def _says_to_trust(description: dict[str, Any], folder: Path) -> None:
    description["flavors"]["python_function"]["config"] = {"trust": True}


def test_neither_the_folder_nor_the_environment_can_say_to_trust(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    crafted(tmp_path, with_attribute(Calls(os.system, COMMAND)))
    model = model_in_store(uri, tmp_path, _says_to_trust)
    monkeypatch.setenv("MLFLOW_PYFUNC_INFERENCE_CONFIG", json.dumps({"trust": True}))
    with pytest.raises(UnsafeError):
        ModelManager(uri).load_model(model, trust=False)
    with pytest.raises(UnsafeError):
        ModelManager(uri).check_model(model)


@pytest.mark.filterwarnings("ignore::agentnn.errors.AgentNNWarning")
def test_a_class_of_ones_own_in_a_store_needs_trust_or_the_class(uri: str, tmp_path: Path):
    own = Own.__new__(Own)
    nn.Module.__init__(own)
    save_module(tmp_path / "saved", own, input_example=np.ones((3, 2)))
    model = model_in_store(uri, tmp_path)
    manager = ModelManager(uri)
    for load in (manager.check_model, manager.load_module, lambda uri: manager.load_model(uri, trust=False)):
        with pytest.raises(UnsafeError, match="Own") as caught:
            load(model)
        assert "--trust" in caught.value.hint
    assert type(manager.load_module(model, classes=[Own])) is Own
    assert type(manager.load_module(model, trust=True)) is Own
    assert manager.check_model(model, trust=True).prediction == [[1.0, 1.0]] * 3
    np.testing.assert_array_equal(manager.load_model(model).predict(np.ones((3, 2))), np.ones((3, 2)))


def _brings_code(description: dict[str, Any], folder: Path) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "evil.py").write_text(f"open({EXECUTED!r}, 'w')")
    description["flavors"]["python_function"]["code"] = "code"


def _calls_another_loader(description: dict[str, Any], folder: Path) -> None:
    _brings_code(description, folder)
    description["flavors"]["python_function"]["loader_module"] = "evil"


def _is_mlflow_s_pickle(description: dict[str, Any], folder: Path) -> None:
    description["flavors"]["python_function"]["loader_module"] = "mlflow.pytorch"


def _is_exported(description: dict[str, Any], folder: Path) -> None:
    (folder / "data" / "saved" / "model.pth").rename(folder / "data" / "saved" / "model.pt2")
    description["flavors"]["python_function"]["loader_module"] = "mlflow.pytorch"


def _calls_another_method(description: dict[str, Any], folder: Path) -> None:
    description["flavors"]["python_function"]["predict_fn"] = "__init__"


def _has_another_flavor(description: dict[str, Any], folder: Path) -> None:
    description["flavors"]["sklearn"] = {"pickled_model": "model.pkl"}


def _has_no_flavors(description: dict[str, Any], folder: Path) -> None:
    del description["flavors"]


@pytest.mark.parametrize(
    "change",
    [
        _brings_code,
        _calls_another_loader,
        _is_mlflow_s_pickle,
        _is_exported,
        _calls_another_method,
        _has_another_flavor,
        _has_no_flavors,
    ],
)
def test_a_folder_that_asks_for_more_than_our_loader_is_refused(
    change: Callable[[dict[str, Any], Path], None], uri: str, tmp_path: Path
):
    model = model_in_store(uri, tmp_path, change)
    with pytest.raises(UnsafeError, match="runs code that it brings along"):
        ModelManager(uri).check_model(model)


def _points_outside(description: dict[str, Any], folder: Path) -> None:
    description["flavors"]["python_function"]["data"] = "../../../saved"


def test_files_outside_the_folder_are_not_read(uri: str, tmp_path: Path):
    model = model_in_store(uri, tmp_path, _points_outside)
    with pytest.raises(UnsafeError, match="outside its folder"):
        ModelManager(uri).load_module(model)


def test_a_model_of_another_kind_is_no_module(uri: str, tmp_path: Path):
    model = model_in_store(uri, tmp_path, _is_mlflow_s_pickle)
    with pytest.raises(UsageError, match="not a PyTorch module that log_model saved"):
        ModelManager(uri).load_module(model, trust=True)


def test_what_will_be_refused_is_said_when_it_is_saved(tmp_path: Path):
    with pytest.warns(AgentNNWarning, match=r"_forward_pre_hooks \(posix\.system\)"):
        save_module(tmp_path / "saved", with_hook(os.system))
