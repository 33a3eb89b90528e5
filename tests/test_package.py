"""What ``import agentnn`` and every command load, leave alone, and promise."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli.support import READS, artifacts_of_ada, environment, fill, fingerprint
from real_stores import make_equal

import agentnn
from agentnn import errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from real_stores import MlflowServer

HEAVY = {"mlflow", "pandas", "numpy", "torch", "sqlalchemy", "pydantic", "requests"}
GROUPS = ("experiment", "run", "model", "report", "quickstart")
HELP = (("--help",), *((group, "--help") for group in GROUPS), ("--version",))


def test_the_public_names_are_exactly_these():
    assert agentnn.__all__ == [
        "ActiveRun",
        "AdvancedOptions",
        "AdvancedTrainer",
        "AgentNNError",
        "AgentNNWarning",
        "ArchitectureOptimizer",
        "Artifact",
        "BestRun",
        "Comparison",
        "ConfigurationManager",
        "DistributedOptions",
        "DistributedTrainer",
        "EnhancedMLflowLogger",
        "Experiment",
        "ExperimentOrganizer",
        "ExperimentReporter",
        "ExperimentTracker",
        "HierarchicalNetwork",
        "InputConfig",
        "MLProject",
        "MLRun",
        "MLflowLogger",
        "MLflowManager",
        "Metric",
        "ModelManager",
        "ModelVersion",
        "MultiTaskOptions",
        "MultiTaskTrainer",
        "NullRun",
        "OnlineLearner",
        "OnlineOptions",
        "RegisteredModel",
        "Run",
        "UnreadableWarning",
        "Verdict",
        "__version__",
        "current_run",
        "start_run",
    ]


@pytest.mark.parametrize("name", agentnn.__all__)
def test_every_public_name_can_be_had_and_is_listed(name: str):
    assert callable(getattr(agentnn, name)) or name == "__version__"
    assert name in dir(agentnn)


def test_a_star_import_gives_the_public_names():
    names: dict[str, object] = {}
    exec("from agentnn import *", names)
    assert set(agentnn.__all__) <= names.keys()


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'ModelManger'"):
        _ = agentnn.ModelManger


def test_the_exit_codes_are_those_of_the_command_line():
    codes = {
        name: one.exit_code
        for name, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, errors.AgentNNError)
    }
    assert codes == {
        "AgentNNError": 70,
        "CheckFailed": 1,
        "UsageError": 2,
        "ConfigError": 2,
        "FilterError": 2,
        "NotAStoreError": 2,
        "NotFoundError": 3,
        "StoreUnavailable": 4,
        "CorruptDataError": 5,
        "ConflictError": 6,
        "UnsafeError": 7,
        "TrainingError": 8,
        "MissingDependencyError": 9,
    }


@pytest.mark.parametrize(
    ("ours", "builtin"),
    [
        (errors.UsageError, ValueError),
        (errors.NotFoundError, LookupError),
        (errors.StoreUnavailable, ConnectionError),
        (errors.MissingDependencyError, ImportError),
    ],
)
def test_an_error_is_also_the_builtin_that_python_users_would_catch(ours: type, builtin: type):
    with pytest.raises(builtin, match="^what is wrong$") as caught:
        raise ours("what is wrong", hint="what to do")
    assert caught.value.hint == "what to do"


def in_a_fresh_interpreter(code: str, cwd: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment(), capture_output=True, encoding="utf-8", check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout


def test_importing_agentnn_changes_nothing(tmp_path: Path):
    answer = in_a_fresh_interpreter(
        "import json, logging, os, signal, sys, warnings\n"
        "def state():\n"
        "    return [len(logging.root.handlers), logging.root.level, dict(os.environ), len(warnings.filters),\n"
        "            str(signal.getsignal(signal.SIGINT)), str(sys.excepthook), os.getcwd()]\n"
        "before = state()\n"
        "import agentnn\n"
        "trainers = [name for name, home in agentnn._HOME_OF.items() if home.startswith('agentnn.nn_models.')]\n"
        "for name in set(agentnn.__all__) - set(trainers): getattr(agentnn, name)\n"
        "print(json.dumps([before == state(), sorted(sys.modules)]))\n",
        tmp_path,
    )
    unchanged, modules = json.loads(answer)
    assert unchanged
    assert HEAVY.isdisjoint(modules)
    assert list(tmp_path.iterdir()) == []


def test_importing_agentnn_alone_loads_nothing_but_the_package_itself(tmp_path: Path):
    answer = in_a_fresh_interpreter(
        "import sys; import agentnn; print([one for one in sys.modules if one.startswith('agentnn')])", tmp_path
    )
    assert answer.strip() == "['agentnn']"


def test_a_manager_opens_nothing_before_the_first_question(tmp_path: Path):
    in_a_fresh_interpreter("import agentnn; agentnn.ModelManager('sqlite:///missing.db')", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, template_database: Path) -> Path:
    """A filled store in a folder of its own, under its default name."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    path.write_bytes(template_database.read_bytes())
    fill(path)
    folder = artifacts_of_ada(path, path.parent / "artifacts")
    (folder / "plots").mkdir(parents=True)
    (folder / "plots" / "loss.png").write_bytes(b"png")
    return path


def modules_of(arguments: Sequence[str], cwd: Path, environ: dict[str, str] | None = None) -> set[str]:
    """The top-level modules that are loaded when a command is done, its output piped."""
    code = (
        "import sys\n"
        "from agentnn.cli.app import run_command\n"
        f"code = run_command({list(arguments)!r})\n"
        "print(code, *sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment(environ),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    code_and_modules = ran.stderr.splitlines()[-1].split()
    assert code_and_modules[0] == "0", ran.stderr
    assert ran.stdout
    return set(code_and_modules[1:])


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_loads_nothing_heavy(arguments: Sequence[str], tmp_path: Path):
    assert HEAVY.isdisjoint(modules_of(arguments, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        *(("experiment", name) for name in ("list", "show")),
        *(("run", name) for name in ("list", "show", "best", "compare", "history", "artifacts")),
        *(("model", name) for name in ("list", "versions", "show", "load")),
        *(("report", name) for name in ("training", "compare", "verify")),
    ],
    ids=" ".join,
)
def test_the_help_of_a_command_loads_nothing_heavy(command: Sequence[str], tmp_path: Path):
    assert HEAVY.isdisjoint(modules_of((*command, "--help"), tmp_path))


@pytest.mark.parametrize("arguments", READS, ids=" ".join)
def test_a_piped_read_loads_nothing_heavy_and_neither_rich_nor_dotenv(arguments: Sequence[str], store: Path):
    before = fingerprint(store.parent)
    loaded = modules_of(arguments, store.parent)
    assert HEAVY.isdisjoint(loaded)
    assert {"rich", "dotenv", "yaml"}.isdisjoint(loaded)
    assert fingerprint(store.parent) == before


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "tsv", "md", "id"])
@pytest.mark.parametrize("arguments", [READS[2], READS[4], READS[8]], ids=" ".join)
def test_no_format_but_the_table_loads_rich(arguments: Sequence[str], form: str, store: Path):
    loaded = modules_of((*arguments, "--output", form), store.parent)
    assert HEAVY.isdisjoint(loaded)
    assert "rich" not in loaded


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "list", "--filter", "metrics.loss < 1 AND params.optimizer =~ 'ad'", "--sort", "metrics.loss"),
        ("run", "show", "@best:sharpe"),
        ("run", "show", "models:/net@champion"),
        ("run", "best", "-m", "sharpe", "--aggregate", "mean", "--top", "2"),
        ("model", "list", "--metrics"),
        ("run", "list", "-o", "table"),
    ],
    ids=" ".join,
)
def test_filters_selectors_and_tables_load_nothing_heavy(arguments: Sequence[str], store: Path):
    assert HEAVY.isdisjoint(modules_of(arguments, store.parent))


@pytest.fixture(scope="module")
def server(
    mlflow_server: MlflowServer,
    _server_database: Path,
    _server_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """A server with the rows of a filled store, artifacts of its own among them."""
    copy = tmp_path_factory.mktemp("served") / "mlflow.db"
    copy.write_bytes(_server_template.read_bytes())
    fill(copy)
    make_equal(_server_database, copy)
    return mlflow_server.url


@pytest.mark.parametrize(
    "arguments",
    [
        *(one for one in READS if one[:3] != ("run", "artifacts", "ls")),
        ("run", "list", "--filter", "metrics.loss < 1 OR params.optimizer =~ 'ad'", "--sort", "metrics.loss"),
        ("run", "best", "-m", "sharpe", "--aggregate", "mean", "--tally"),
        ("run", "show", "models:/net@champion"),
    ],
    ids=" ".join,
)
def test_a_server_is_read_without_anything_heavy(arguments: Sequence[str], server: str, tmp_path: Path):
    loaded = modules_of(("--tracking-uri", server, *arguments), tmp_path)
    assert HEAVY.isdisjoint(loaded)
    assert {"requests", "urllib3", "http", "ssl", "email"}.isdisjoint(loaded)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["run show ", "experiment show ", "model show ", "run best -m "])
def test_completion_loads_nothing_heavy(words: str, store: Path):
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr))\n"
        "from agentnn.cli.process import main\n"
        "sys.argv = ['agentnn']\n"
        "main()\n"
    )
    line = f"agentnn {words}"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=store.parent,
        env=environment(
            {"_AGENTNN_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        ),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.stdout.split()
    assert HEAVY.isdisjoint(ran.stderr.split())
