"""PyTorch modules in files: what is read back trains on as if nothing had happened, and MLflow reads it too."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from argparse import Namespace
from copy import deepcopy
from functools import partial
from importlib.metadata import version
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from agentnn.errors import AgentNNWarning, CorruptDataError, NotFoundError, UnsafeError, UsageError
from agentnn.tracking.models.model_files import build_model_folder
from agentnn.tracking.models.torch_modules import load_module, save_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.activation = functional.gelu
        self.squash = torch.tanh

    def forward(self, inputs: Tensor) -> Tensor:
        return self.squash(inputs + self.activation(self.norm(self.linear(inputs))))


class Forecaster(nn.Module):
    """Buffers, nested modules in lists and dicts, a tied weight, a reference to itself, plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 4.0]))
        self.register_buffer("cache", torch.ones(2), persistent=False)
        self.lstm = nn.LSTM(3, 6, num_layers=2, batch_first=True, dropout=0.2)
        self.blocks = nn.ModuleList([Block(6), Block(6)])
        self.heads = nn.ModuleDict({"mean": nn.Linear(6, 1), "spread": nn.Linear(6, 1)})
        self.heads["spread"].weight = self.heads["mean"].weight
        self.bias = nn.Parameter(torch.zeros(1))
        self.options = {"sizes": (3, 6), "name": "f", "rate": 0.1, "kinds": frozenset({"a"}), 2: [None, True, b"x"]}
        self.args = Namespace(lr=1e-3, nested=SimpleNamespace(seed=7))
        self.dtype, self.device = torch.float32, torch.device("cpu")
        self.around = [self]
        self.classes = {"norm": nn.LayerNorm, "more": [(Block, nn.ReLU)], "set": {nn.GELU}, "args": Namespace(of=Block)}
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        states, _ = self.lstm(inputs / self.scale)
        last = states[:, -1]
        for block in self.blocks:
            last = block(last)
        return self.heads["mean"](last) + functional.softplus(self.heads["spread"](last)) + self.bias


class Wide(nn.Module):
    """Gives several outputs."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return inputs * 2, inputs


class Named(nn.Module):
    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"out": inputs}


class Noisy(nn.Module):
    """Draws a random number even in evaluation."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + torch.rand(1)


class FirstState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.lstm(inputs)[0][:, -1]


OWN = [Block, Forecaster, Wide, Named, Noisy, FirstState]

MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "sequential": (lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1)), (5, 3)),
    "convolution": (lambda: nn.Sequential(nn.Conv1d(3, 4, 2), nn.BatchNorm1d(4), nn.Flatten()), (5, 3, 4)),
    "transformer": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2), (5, 3, 4)),
    "tanh layer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, activation=torch.tanh, batch_first=True), (5, 3, 4)),
    "lstm": (FirstState, (5, 4, 3)),
    "custom": (Forecaster, (5, 4, 3)),
}


def made(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        return build()


def batch(shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.random.default_rng(2).normal(size=shape).astype(np.float32))


def train(module: nn.Module, inputs: Tensor, steps: int = 3) -> tuple[list[float], dict[str, Tensor]]:
    """The losses and the state after some steps from a fixed seed, dropout included."""
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = functional.mse_loss(module(inputs), torch.ones(()).expand_as(module(inputs)))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses, module.state_dict()


def assert_equal_states(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


@pytest.fixture(autouse=True)
def no_warnings_but_those_expected(recwarn: pytest.WarningsRecorder):
    yield
    assert [str(one.message) for one in recwarn if issubclass(one.category, AgentNNWarning)] == []


# -- reading back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_what_is_read_back_trains_on_bit_for_bit_like_the_original(name: str, tmp_path: Path):
    build, shape = MODULES[name]
    original = made(build)
    train(original, batch(shape))
    save_module(tmp_path, original)
    loaded = load_module(tmp_path, classes=OWN)
    assert type(loaded) is type(original)
    assert_equal_states(loaded.state_dict(), original.state_dict())
    losses, state = train(original, batch(shape))
    losses_of_loaded, state_of_loaded = train(loaded, batch(shape))
    assert losses_of_loaded == losses
    assert len(set(losses)) > 1
    assert_equal_states(state_of_loaded, state)


def test_the_structure_of_a_custom_module_comes_back(tmp_path: Path):
    original = made(Forecaster)
    original.blocks[0].eval()
    original.lstm.weight_ih_l0.requires_grad_(False)
    save_module(tmp_path, original)
    loaded = load_module(tmp_path, classes=[Forecaster, Block])
    assert isinstance(loaded, Forecaster)
    assert loaded.options == original.options
    assert (loaded.args, loaded.dtype, loaded.device) == (original.args, torch.float32, torch.device("cpu"))
    assert loaded.around[0] is loaded
    assert loaded.classes == original.classes
    assert loaded.heads["spread"].weight is loaded.heads["mean"].weight
    assert torch.equal(loaded.cache, original.cache)
    assert [one.training for one in loaded.modules()] == [one.training for one in original.modules()]
    assert [one.requires_grad for one in loaded.parameters()] == [one.requires_grad for one in original.parameters()]
    assert [name for name, _ in loaded.named_buffers()] == [name for name, _ in original.named_buffers()]


def test_every_module_class_of_torch_nn_loads_without_trust(tmp_path: Path):
    by_arguments: list[tuple[str, tuple[Any, ...]]] = [
        ("Linear Embedding EmbeddingBag GRU LSTM RNN GRUCell LSTMCell", (4, 4)),
        ("Conv1d Conv2d Conv3d ConvTranspose2d Bilinear", (4, 4, 2)),
        ("BatchNorm1d BatchNorm2d LayerNorm RMSNorm InstanceNorm1d SyncBatchNorm", (4,)),
        ("ReLU GELU Tanh PReLU Softplus Identity Flatten MSELoss HuberLoss TripletMarginWithDistanceLoss", ()),
        ("GroupNorm MultiheadAttention", (2, 2)),
        ("Transformer", (4, 2, 1, 1)),
        ("MaxPool1d Upsample", (2,)),
        ("ParameterList", ([torch.ones(2)],)),
        ("ParameterDict", ({"a": torch.ones(2)},)),
        ("AdaptiveLogSoftmaxWithLoss", (4, 8, [2, 4])),
        ("Unflatten", (1, (2, 2))),
    ]
    arguments = {name: values for names, values in by_arguments for name in names.split()}
    for name, values in arguments.items():
        original = getattr(nn, name)(*values)
        save_module(tmp_path / name, original)
        loaded = load_module(tmp_path / name)
        assert type(loaded) is type(original), name
        assert_equal_states(loaded.state_dict(), original.state_dict())
        assert repr(loaded) == repr(original)


@pytest.mark.parametrize("function", ["relu", "hardshrink", "logsigmoid", "softmax", "leaky_relu", "sigmoid", "elu"])
def test_activation_functions_load_without_trust(function: str, tmp_path: Path):
    holder = nn.Identity()
    holder.ours = getattr(functional, function)
    save_module(tmp_path, holder)
    assert load_module(tmp_path).ours is holder.ours


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, lambda one: torch.compile(nn.DataParallel(one))])
def test_wrappers_are_taken_off(wrap: Callable[[nn.Module], nn.Module], tmp_path: Path):
    inner = made(MODULES["sequential"][0])
    save_module(tmp_path, wrap(inner))
    loaded = load_module(tmp_path)
    assert type(loaded) is nn.Sequential
    assert_equal_states(loaded.state_dict(), inner.state_dict())


def test_a_distributed_module_is_unwrapped(tmp_path: Path):
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        inner = nn.Linear(2, 1)
        save_module(tmp_path, nn.parallel.DistributedDataParallel(inner))
    finally:
        torch.distributed.destroy_process_group()
    assert_equal_states(load_module(tmp_path).state_dict(), inner.state_dict())


def test_tensors_of_another_device_land_on_the_cpu(tmp_path: Path):
    save_module(tmp_path, nn.Linear(2, 1, device="meta"))
    path = tmp_path / "model.pth"
    assert load_module(tmp_path).weight.device.type == "meta"  # which has no data to bring along
    save_module(tmp_path, nn.Linear(2, 1))
    import zipfile

    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:  # as a process with a GPU would have written it
        for name, content in records.items():
            archive.writestr(name, content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    assert any(b"cuda:0" in archive_content for archive_content in [path.read_bytes()])
    assert load_module(tmp_path).weight.device.type == "cpu"


def test_threads_may_load_at_the_same_time(tmp_path: Path):
    original = made(Forecaster)
    save_module(tmp_path, original)
    before = set(torch.serialization.get_safe_globals())
    loaded: list[nn.Module] = []
    threads = [threading.Thread(target=lambda: loaded.append(load_module(tmp_path, classes=OWN))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(loaded) == 6
    for one in loaded:
        assert_equal_states(one.state_dict(), original.state_dict())
    assert set(torch.serialization.get_safe_globals()) == before


# -- classes of one's own ----------------------------------------------------------------------------------


def test_a_class_of_ones_own_is_named_and_taken_when_it_is_handed_in_or_trusted(tmp_path: Path):
    save_module(tmp_path, made(Forecaster))
    with pytest.raises(UnsafeError, match=r"Block, .*Forecaster") as caught:
        load_module(tmp_path)
    assert "classes=[MyNet]" in caught.value.hint
    assert "--trust" in caught.value.hint
    with pytest.raises(UnsafeError, match="Block"):
        load_module(tmp_path, classes=[Forecaster])
    assert isinstance(load_module(tmp_path, trust=True), Forecaster)
    needs = json.loads((tmp_path / "module.json").read_text())["needs"]
    assert needs == [f"{cls.__module__}.{cls.__qualname__}" for cls in (Block, Forecaster)]


SCRIPT = """
import sys
from pathlib import Path
import numpy, torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.kind = "script"
    def forward(self, x):
        return self.linear(x)
if __name__ == "__main__":
    from agentnn.tracking.models.torch_modules import save_module
    torch.manual_seed(5)
    save_module(Path(sys.argv[1]), Net(), input_example=numpy.ones((2, 3)))
    assert not [name for name in sys.modules if name.partition(".")[0] in ("mlflow", "pandas")]
"""


def run_python(*arguments: str, cwd: Path) -> None:
    ran = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, encoding="utf-8", check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stderr


def test_a_module_of_a_script_loads_elsewhere_and_no_mlflow_is_imported_to_save_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "its_script.py").write_text(SCRIPT)
    run_python("its_script.py", "saved", cwd=tmp_path)
    saved = tmp_path / "saved"
    with pytest.raises(UnsafeError, match=r"__main__\.Net"):
        load_module(saved)
    with pytest.raises(NotFoundError, match="Net") as caught:
        load_module(saved, trust=True)
    assert "classes=[MyNet]" in caught.value.hint
    monkeypatch.syspath_prepend(tmp_path)
    from its_script import Net

    for loaded in (load_module(saved, classes=[Net]), load_module(saved, classes=[Net], trust=True)):
        assert (type(loaded), loaded.kind) == (Net, "script")
        expected = loaded(torch.ones(2, 3)).detach().numpy()
        np.testing.assert_array_equal(np.load(saved / "output_example.npy"), expected)
    assert np.load(saved / "input_example.npy").dtype == np.float64


@pytest.mark.parametrize(
    ("value", "named"),
    [(np.float64(2.0), "numpy"), (partial(functional.softmax, dim=1), "functools.partial"), (torch.optim, "")],
)
def test_what_loads_only_with_trust_is_said_when_it_is_saved(value: Any, named: str, tmp_path: Path):
    module = nn.Sequential(nn.Linear(2, 1), nn.Identity())
    module[1].odd = value
    if not named:
        with pytest.raises(UsageError, match=r"because of 1\.odd") as caught:
            save_module(tmp_path, module)
        assert "state_dict" in caught.value.hint
        assert not (tmp_path / "model.pth").exists()
        return
    with pytest.warns(AgentNNWarning, match=rf"1\.odd \({named}"):
        save_module(tmp_path, module)
    with pytest.raises(UnsafeError, match=named):
        load_module(tmp_path)
    assert load_module(tmp_path, trust=True)[1].odd is not None


def test_a_number_that_torch_can_t_read_is_said_when_it_is_saved(tmp_path: Path):
    module = nn.Linear(1, 1)
    module.huge = 10**1000
    with pytest.warns(AgentNNWarning, match="trust only"):
        save_module(tmp_path, module)
    with pytest.raises(UnsafeError):
        load_module(tmp_path)
    assert load_module(tmp_path, trust=True).huge == 10**1000


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [{"a": 1}, [torch.ones(1)], torch.ones(1), nn.Linear, lambda inputs: inputs])
def test_what_is_no_module_is_refused_and_the_way_out_is_named(model: Any, tmp_path: Path):
    with pytest.raises(UsageError, match=r"takes a torch\.nn\.Module") as caught:
        save_module(tmp_path / "new", model)
    assert "log_artifact" in caught.value.hint
    assert not (tmp_path / "new").exists()


def test_modules_that_torch_can_t_save_are_refused(tmp_path: Path):
    class Local(nn.Module):
        pass

    with pytest.raises(UsageError, match="Local"):
        save_module(tmp_path, Local())
    with pytest.raises(UsageError, match="parametrized"):
        save_module(tmp_path, nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    with pytest.raises(UsageError, match="TorchScript"):
        save_module(tmp_path, torch.jit.script(nn.Linear(2, 2)))
    hooked = nn.Sequential(nn.Linear(2, 2))
    hooked[0].register_forward_hook(lambda *_: None)
    with pytest.raises(UsageError, match=r"0\._forward_hooks"):
        save_module(tmp_path, hooked)
    with pytest.raises(UsageError, match="list of lines"):
        save_module(tmp_path, nn.Linear(2, 2), pip_requirements="torch")
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, signal
from pathlib import Path
from torch import nn
from agentnn.tracking.models.torch_modules import save_module
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_module(Path("saved"), nn.Linear(300, 300))
except OSError as error:
    assert "File too large" in str(error)
    assert list(Path("saved").iterdir()) == []
else:
    raise AssertionError
"""


def test_a_file_that_does_not_fit_is_the_disk_s_error_and_leaves_nothing(tmp_path: Path):
    run_python("-c", FULL, cwd=tmp_path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(NotFoundError, match=r"model\.pth is missing"):
        load_module(tmp_path)
    with pytest.raises(NotFoundError, match=r"module\.json is missing"):
        build_model_folder(tmp_path, tmp_path / "model")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off", bytes(5000)])
def test_a_damaged_file_is_said_to_be(content: bytes, tmp_path: Path):
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises((CorruptDataError, UnsafeError), match=r"model\.pth"):
        load_module(tmp_path)


def test_flipped_bytes_are_never_a_bug_of_ours(tmp_path: Path):
    save_module(tmp_path, nn.Sequential(nn.LSTM(2, 2), nn.Linear(2, 1)))
    path = tmp_path / "model.pth"
    sound, chance, outcomes = path.read_bytes(), random.Random(4), set()
    for _ in range(300):
        damaged = bytearray(sound)
        damaged[chance.randrange(len(sound))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            outcomes.add(type(load_module(tmp_path)))
        except (CorruptDataError, UnsafeError) as error:
            outcomes.add(type(error))
    assert {nn.Sequential, CorruptDataError} <= outcomes


@pytest.mark.parametrize("saved", [{"weight": torch.ones(2)}, torch.ones(2), [1, 2]])
def test_a_file_that_holds_no_module_is_said_to(saved: Any, tmp_path: Path):
    torch.save(saved, tmp_path / "model.pth")
    with pytest.raises(CorruptDataError, match="does not hold a PyTorch module"):
        load_module(tmp_path)


# -- the example -------------------------------------------------------------------------------------------


def test_an_example_changes_nothing_about_the_module_or_the_random_numbers(tmp_path: Path):
    original = made(Forecaster)
    original.blocks[1].eval()
    twin = deepcopy(original)
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    save_module(tmp_path, original, input_example=batch((5, 4, 3)))
    assert torch.equal(torch.rand(3), expected)
    assert original.calls == 0
    assert [one.training for one in original.modules()] == [one.training for one in twin.modules()]
    assert train(original, batch((5, 4, 3)))[0] == train(twin, batch((5, 4, 3)))[0]
    save_module(tmp_path, made(Noisy), input_example=np.ones((1, 1)))
    assert np.load(tmp_path / "output_example.npy").shape == (1, 1)


def test_the_recorded_output_is_the_module_s_in_evaluation(tmp_path: Path):
    original = made(Forecaster)
    inputs = batch((5, 4, 3))
    save_module(tmp_path, original, input_example=inputs)
    with torch.no_grad():
        expected = deepcopy(original).eval()(inputs).numpy()
    np.testing.assert_array_equal(np.load(tmp_path / "output_example.npy"), expected)
    np.testing.assert_array_equal(np.load(tmp_path / "input_example.npy"), inputs.numpy())


@pytest.mark.parametrize(
    ("build", "example", "reason"),
    [
        (lambda: nn.Linear(3, 1), np.ones((2, 4)), "cannot be multiplied"),
        (lambda: nn.Linear(3, 1), {"inputs": [1.0]}, "TypeError"),
        (Named, np.ones(2), "gives a dict"),
    ],
)
def test_an_example_that_fails_is_left_out_with_a_warning_and_the_model_is_kept(
    build: Callable[[], nn.Module], example: Any, reason: str, tmp_path: Path
):
    with pytest.warns(AgentNNWarning, match=reason):
        save_module(tmp_path, build(), input_example=example)
    assert load_module(tmp_path, classes=OWN) is not None
    assert not list(tmp_path.glob("*.npy"))


# -- MLflow ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with an example, built by a process that has MLflow and not torch."""
    tmp_path = tmp_path_factory.mktemp("built")
    original = made(MODULES["sequential"][0])
    save_module(tmp_path / "saved one", original, input_example=np.arange(6.0).reshape(2, 3))
    build = (
        "import sys; from pathlib import Path; from agentnn.tracking.models.model_files import build_model_folder; "
        "build_model_folder(Path('saved one'), Path('model')); assert 'torch' not in sys.modules"
    )
    run_python("-c", build, cwd=tmp_path)
    return tmp_path / "model"


def test_mlflow_predicts_what_the_module_gave(folder: Path):
    import mlflow.pyfunc
    import pandas as pd

    loaded = mlflow.pyfunc.load_model(str(folder))
    module = made(MODULES["sequential"][0]).eval()
    inputs = np.random.default_rng(1).normal(size=(4, 3))
    with torch.no_grad():
        expected = module(torch.from_numpy(inputs.astype(np.float32))).numpy()
    np.testing.assert_array_equal(loaded.predict(inputs), expected)
    np.testing.assert_array_equal(loaded.predict(pd.DataFrame(inputs)), expected)
    np.testing.assert_array_equal(loaded.input_example, np.arange(6.0).reshape(2, 3))
    signature = loaded.metadata.signature
    assert [(one.type, one.shape) for one in signature.inputs.inputs] == [(np.dtype("float64"), (-1, 3))]
    assert [(one.type, one.shape) for one in signature.outputs.inputs] == [(np.dtype("float32"), (-1, 1))]


def test_mlflow_s_own_flavor_gives_the_module_back(folder: Path, caplog: pytest.LogCaptureFixture):
    import mlflow.pytorch

    loaded = mlflow.pytorch.load_model(str(folder))
    assert type(loaded) is nn.Sequential
    assert_equal_states(loaded.state_dict(), made(MODULES["sequential"][0]).state_dict())
    assert "does not match" not in caplog.text


def test_the_requirements_are_those_of_the_training_process(folder: Path):
    lines = (folder / "requirements.txt").read_text().split()
    assert lines[0].startswith("mlflow==")
    own = [f"{name}=={version(name).partition('+')[0]}" for name in ("agentnn", "numpy", "torch")]
    assert lines[1:] == own
    assert "+" not in "".join(lines)


def test_requirements_that_are_given_are_taken_as_they_are(tmp_path: Path):
    save_module(tmp_path / "saved", nn.Linear(1, 1), pip_requirements=["torch>=2.4", "my-package==1.0"])
    build_model_folder(tmp_path / "saved", tmp_path / "model")
    assert (tmp_path / "model" / "requirements.txt").read_text().split()[1:] == ["torch>=2.4", "my-package==1.0"]


def test_the_package_of_a_class_is_required(tmp_path: Path):
    module = nn.Linear(1, 1)
    module.table = np.ones(2)
    import yaml

    module.loader = yaml.YAMLError("x")
    with pytest.warns(AgentNNWarning, match="table"):
        save_module(tmp_path, module)
    found = json.loads((tmp_path / "module.json").read_text())["pip_requirements"]
    assert f"PyYAML=={version('PyYAML')}" in found


def test_the_first_of_several_outputs_is_the_prediction(tmp_path: Path):
    import mlflow.pyfunc

    save_module(tmp_path / "saved", Wide(), input_example=np.ones((2, 2), dtype=np.float32))
    build_model_folder(tmp_path / "saved", tmp_path / "model")
    with pytest.raises(UnsafeError, match="Wide"):
        mlflow.pyfunc.load_model(str(tmp_path / "model"))
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"), model_config={"trust": True})
    np.testing.assert_array_equal(loaded.predict(np.ones((3, 2), dtype=np.float32)), np.full((3, 2), 2.0))


def test_whole_numbers_stay_whole_and_half_precision_is_widened(tmp_path: Path):
    module = nn.Embedding(10, 2).bfloat16()
    save_module(tmp_path / "saved", module, input_example=[[1, 2], [3, 4]])
    build_model_folder(tmp_path / "saved", tmp_path / "model")
    import mlflow.pyfunc

    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert loaded.metadata.signature.inputs.inputs[0].type == np.dtype("int64")
    expected = module(torch.tensor([[9]])).float().detach().numpy()
    np.testing.assert_array_equal(loaded.predict(np.array([[9, 9]]))[:, :1], expected)


def test_a_model_without_an_example_has_no_signature(tmp_path: Path):
    import mlflow.pyfunc

    save_module(tmp_path / "saved", nn.Linear(3, 1))
    build_model_folder(tmp_path / "saved", tmp_path / "model")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert loaded.metadata.signature is None
    assert loaded.predict(np.ones((2, 3))).shape == (2, 1)
