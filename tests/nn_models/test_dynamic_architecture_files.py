"""Networks with changing layers in files: what comes back, and what is damaged or foreign."""

from __future__ import annotations

import json
import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nn_models.small_networks import architectures, grow, inputs_for, network_of, outputs_of

from agentnn.errors import CorruptDataError, NotFoundError, StoreUnavailable, UnsafeError
from agentnn.nn_models.architecture import files
from agentnn.nn_models.dynamic_architecture import Architecture, load_network, save_network
from agentnn.tracking.models.torch_modules import load_module, save_module

torch.set_num_threads(1)
SEEDS = st.integers(0, 2**16)
KEEPS_FOLDER = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def weights_in(folder: Path) -> Path:
    [path] = folder.glob("weights-*.pt")
    return path


@KEEPS_FOLDER
@given(st.data(), architectures(), SEEDS, st.sampled_from([torch.float32, torch.float64]))
def test_a_network_comes_back_to_the_last_bit(
    tmp_path: Path, data: st.DataObject, architecture: Architecture, seed: int, dtype: torch.dtype
) -> None:
    network = network_of(architecture, seed, dtype)
    torch.manual_seed(seed)
    grow(data, network)
    save_network(tmp_path, network.train())
    loaded = load_network(tmp_path)
    inputs = inputs_for(network, seed)
    assert not loaded.training
    assert loaded.architecture == network.architecture
    assert torch.equal(outputs_of(loaded, inputs), outputs_of(network, inputs))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["architecture.json", weights_in(tmp_path).name]


def test_the_file_says_what_the_network_is(tmp_path: Path) -> None:
    network = network_of(Architecture.of_widths(2, (3,), dropout=0.1), 1)
    save_network(tmp_path / "new" / "folder", network)
    described = json.loads((tmp_path / "new" / "folder" / "architecture.json").read_text())
    assert Architecture.from_dict(described["architecture"]) == network.architecture
    content = weights_in(tmp_path / "new" / "folder").read_bytes()
    assert described["weights"]["sha256"] == sha256(content).hexdigest()


def test_whatever_dies_while_it_is_replaced_one_of_the_two_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = (network_of(Architecture.of_widths(2, (width,)), width) for width in (3, 4))
    inputs = inputs_for(before, 1)
    real = Path.replace
    for dies_at in (0, 1, 2):
        save_network(tmp_path, before)
        done: list[Path] = []

        def replace(self: Path, target: Any, done: list[Path] = done, dies_at: int = dies_at) -> Path:
            if len(done) == dies_at:
                raise OSError(28, os.strerror(28))
            done.append(self)
            return real(self, target)

        monkeypatch.setattr(Path, "replace", replace)
        if dies_at < 2:
            with pytest.raises(StoreUnavailable, match="No space left"):
                save_network(tmp_path, after)
        else:
            save_network(tmp_path, after)
        monkeypatch.undo()
        expected = before if dies_at < 2 else after
        assert torch.equal(outputs_of(load_network(tmp_path), inputs), outputs_of(expected, inputs))
        assert not list(tmp_path.glob(".*"))
        save_network(tmp_path, after)
        assert weights_in(tmp_path)


@KEEPS_FOLDER
@given(st.data())
def test_a_flipped_byte_anywhere_in_the_weights_is_told(tmp_path: Path, data: st.DataObject) -> None:
    save_network(tmp_path, network_of(Architecture.of_widths(2, (3,)), 1))
    path = weights_in(tmp_path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptDataError, match="SHA-256"):
        load_network(tmp_path)


def _with(folder: Path, **changes: Any) -> None:
    path = folder / "architecture.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _with_weights(folder: Path, content: Any) -> None:
    path = weights_in(folder)
    torch.save(content, path)
    digest = sha256(path.read_bytes()).hexdigest()
    path.rename(folder / f"weights-{digest[:16]}.pt")
    _with(folder, weights={"file": f"weights-{digest[:16]}.pt", "sha256": digest})


class Evil:
    """Runs code when it is unpickled without care."""

    def __reduce__(self) -> Any:
        return os.system, ("true",)


def test_what_is_missing_damaged_or_foreign_is_told_by_its_error(tmp_path: Path) -> None:
    network = network_of(Architecture.of_widths(2, (3,)), 1)

    def fresh(name: str) -> Path:
        save_network(tmp_path / name, network)
        return tmp_path / name

    with pytest.raises(NotFoundError, match=r"architecture\.json is missing"):
        load_network(tmp_path)
    folder = fresh("weights")
    weights_in(folder).unlink()
    with pytest.raises(NotFoundError, match="weights-"):
        load_network(folder)
    for name, content in (("cut", '{"format": '), ("list", "[]"), ("other", '{"family": "mlp"}')):
        folder = fresh(name)
        (folder / "architecture.json").write_text(content)
        with pytest.raises(CorruptDataError):
            load_network(folder)
    folder = fresh("another")
    _with(folder, architecture=Architecture.of_widths(2, (4,)).to_dict())
    with pytest.raises(CorruptDataError, match="don't fit"):
        load_network(folder)
    folder = fresh("impossible")
    _with(folder, architecture={"n_inputs": 0, "n_outputs": 1, "blocks": []})
    with pytest.raises(CorruptDataError, match="n_inputs"):
        load_network(folder)
    folder = fresh("outside")
    _with(folder, weights={"file": "../weights.pt", "sha256": "0" * 64})
    with pytest.raises(CorruptDataError, match="does not name its weights"):
        load_network(folder)
    folder = fresh("evil")
    _with_weights(folder, {"feature_mean": Evil()})
    with pytest.raises(UnsafeError):
        load_network(folder)
    for name, content in (("tensor", torch.zeros(2)), ("empty", {}), ("words", {"feature_mean": "x"})):
        folder = fresh(name)
        _with_weights(folder, content)
        with pytest.raises(CorruptDataError):
            load_network(folder)


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="can't be saved"):
        save_network(tmp_path / "file" / "folder", network_of(Architecture(1), 1))


def test_a_module_file_with_such_a_network_loads_without_running_code(tmp_path: Path) -> None:
    """As ``log_model`` writes it, and ``ModelManager.load_module`` reads it."""
    network = network_of(Architecture.of_widths(2, (3,), normalisation="layer"), 1)
    network.deepen(1, activation="tanh")
    save_module(tmp_path, network)
    with pytest.raises(UnsafeError):
        load_module(tmp_path)
    loaded = load_module(tmp_path, classes=type(network).CLASSES)
    inputs = inputs_for(network, 1)
    assert torch.equal(outputs_of(loaded, inputs), outputs_of(network, inputs))  # type: ignore[arg-type]


def test_weights_are_not_executable(tmp_path: Path) -> None:
    save_network(tmp_path, network_of(Architecture(1), 1))
    assert not any(path.stat().st_mode & stat.S_IXUSR for path in tmp_path.iterdir())
    assert files.ARCHITECTURE_FILE == "architecture.json"
