"""Changes on an MLflow server over its REST API, against MLflow's own client on the same server, field by field."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import environment
from faults.rough_server import RoughServer, reply
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput
from real_stores import MlflowServer, make_equal

from agentnn.errors import (
    AgentNNError,
    ConflictError,
    CorruptDataError,
    NotFoundError,
    StoreUnavailable,
    UnsafeError,
    UsageError,
)
from agentnn.records import Run
from agentnn.settings import Settings
from agentnn.stores.experiment_changes import open_experiment_changes
from agentnn.stores.many_runs import AT_ONCE
from agentnn.stores.mlflow.experiment_changes import MlflowExperimentChanges
from agentnn.stores.mlflow.model_places import model_location
from agentnn.stores.mlflow.registry_changes import MlflowRegistryChanges
from agentnn.stores.mlflow.run_changes import MlflowRunChanges
from agentnn.stores.opening import open_registry, open_store
from agentnn.stores.registry_changes import open_registry_changes
from agentnn.stores.rest.experiment_changes import RestExperimentChanges
from agentnn.stores.rest.registry_changes import RestRegistryChanges
from agentnn.stores.rest.run_changes import RestRunChanges
from agentnn.stores.run_changes import open_run_changes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from agentnn.stores.experiment_changes import ExperimentChanges
    from agentnn.stores.registry_changes import RegistryChanges
    from agentnn.stores.run_changes import RunChanges

FEW = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
"""So few that they are the same ones each time; 60 others were tried when this was written."""

TABLES = (
    "experiments", "experiment_tags", "runs", "tags", "registered_models", "registered_model_tags",
    "registered_model_aliases", "model_versions", "model_version_tags", "logged_models", "logged_model_tags",
)  # fmt: skip
TIMES = ("creation_time", "last_update_time", "last_updated_time", "deleted_time", "last_updated_timestamp_ms")
NETWORK = "network"
PROMPT = "ask"
LATE_TAG = "_mlflow_experiment_ids"
"""MLflow's client sets it of a new prompt in a thread, some time."""

UNHEARD = StoreUnavailable.__name__

Change = tuple[str, str, tuple[Any, ...]]

# -- what is done ------------------------------------------------------------------------------------------

keys = st.sampled_from(("team", "a b", "a/b.c", "日本", "mlflow.note.content", "x" * 251, ""))
texts = st.sampled_from(("quant", "", "'it''s' \"so\"", "naïve 🚀\nnext line", "x" * 4999, "x" * 8001))
tags = st.dictionaries(keys, texts, max_size=2)
names = st.sampled_from(("alpha", "beta", "gamma", 'o\'hara "x" 日本', "", "x" * 501))
experiment_ids = st.sampled_from(("0", "1", "2", "3", "99"))
run_numbers = st.integers(0, 4)
models = st.sampled_from(("net", "nat", "o'hara 日本", PROMPT))
versions = st.integers(1, 3)
aliases = st.sampled_from(("champion", "Champion", "_-0"))
stages = st.sampled_from(("Staging", "Production", "Archived", "None"))
run_names = st.sampled_from(("renamed", "日本 net"))


def change(part: str, method: str, *arguments: Any) -> Any:
    return st.tuples(st.just(part), st.just(method), st.tuples(*arguments))


CHANGES = st.one_of(
    change("experiments", "stage_of", names.filter(bool)),
    change("experiments", "create", names, st.sampled_from((None, "mlflow-artifacts:/there", "runs:/x", "")), tags),
    change("experiments", "rename", experiment_ids, names),
    change("experiments", "set_tag", experiment_ids, keys, texts),
    change("experiments", "delete_tag", experiment_ids, keys),
    change("experiments", "delete", experiment_ids),
    change("experiments", "restore", experiment_ids),
    change("runs", "delete", run_numbers, st.sampled_from((None, "a mark"))),
    change("runs", "restore", run_numbers),
    change("runs", "tag", run_numbers, tags, st.lists(keys, max_size=2)),
    change("runs", "tag", run_numbers, st.fixed_dictionaries({"mlflow.runName": run_names, "b": texts})),
    change("registry", "read", models),
    change("registry", "set_tag", models, keys, texts),
    change("registry", "delete_tag", models, keys),
    change("registry", "set_alias", models, aliases, versions),
    change("registry", "set_alias", st.just("net"), st.sampled_from(("latest", "v1", "no good")), versions),
    change("registry", "delete_alias", models, aliases),
    change("registry", "set_stage", models, versions, stages),
    change("registry", "set_stage", st.just("net"), st.just(1), st.just("Prod")),
    change("registry", "create_version", st.sampled_from(("net", "nat", "o'hara 日本", "a/b", "")), run_numbers,
           st.sampled_from(("model", NETWORK)), tags, st.sampled_from((None, "", "words"))),
    change("registry", "delete_version", models, versions),
    change("registry", "delete_model", models),
)  # fmt: skip


class Changes:
    """One way to change what a server holds."""

    def __init__(
        self, run_ids: list[str], url: str, experiments: ExperimentChanges, runs: RunChanges, registry: RegistryChanges
    ) -> None:
        self._run_ids = run_ids
        self._store = open_store(Settings(url, registry_uri=url))
        self._parts = {"experiments": experiments, "runs": runs, "registry": registry}

    def make(self, one: Change) -> Any:
        """What came of a change: what it gave, or the kind of its error."""
        part, method, arguments = one
        call: Callable[..., Any] = getattr(self._parts[part], method)
        if part == "runs":
            arguments = (self._store.find_runs([self._run_ids[arguments[0]]]), *arguments[1:])
        try:
            if method != "create_version":
                return call(*arguments)
            name, number, path, its_tags, words = arguments
            return call(name, self._run_ids[number], path, tags=its_tags, description=words)
        except AgentNNError as error:
            return type(error).__name__


class Twins:
    """A server whose database can be set back, and two ways to change it."""

    def __init__(self, server: MlflowServer, database: Path, template: Path) -> None:
        self.url = server.url
        self._database, self._template = database, template
        self.run_ids = self._fill(MlflowClient(f"sqlite:///{template}"))
        named = Settings(server.url, registry_uri=server.url)
        ours = (open_experiment_changes(named), open_run_changes(named), open_registry_changes(named))
        theirs = (MlflowExperimentChanges(named), MlflowRunChanges(named), MlflowRegistryChanges(named))
        assert [type(one) for one in ours] == [RestExperimentChanges, RestRunChanges, RestRegistryChanges]
        self.settings = named
        self.ours = Changes(self.run_ids, server.url, *ours)
        self.theirs = Changes(self.run_ids, server.url, *theirs)

    def reset(self) -> None:
        """Let the server hold what it held in the beginning."""
        make_equal(self._database, self._template)

    def outcome(self, way: Changes, changes: list[Change]) -> tuple[list[Any], Mapping[str, list[Any]]]:
        """What came of each change, and what the tables hold at the end."""
        self.reset()
        said = [_without_times(way.make(one)) for one in changes]
        return said, self.tables()

    def tables(self) -> dict[str, list[Any]]:
        """What the server holds; of a time only that it is there."""
        with closing(sqlite3.connect(self._database)) as connection:
            connection.row_factory = sqlite3.Row
            return {table: _rows(connection, table) for table in TABLES}

    def _fill(self, client: MlflowClient) -> list[str]:
        """Two experiments, one of them deleted; five runs, one with a logged model; a model, and a prompt."""
        alpha, beta = (client.create_experiment(name, f"mlflow-artifacts:/{name}") for name in ("alpha", "beta"))
        client.set_experiment_tag(alpha, "team", "quant")
        runs = [client.create_run(alpha, run_name=f"run {number}", tags={"team": "quant"}) for number in range(4)]
        run_ids = [run.info.run_id for run in (*runs, client.create_run(beta))]
        logged = client.create_logged_model(alpha, name=NETWORK, source_run_id=run_ids[0])
        client.log_outputs(run_ids[0], [LoggedModelOutput(logged.model_id, 0)])
        client.finalize_logged_model(logged.model_id, "READY")
        client.delete_run(run_ids[3])
        client.delete_experiment(beta)
        client.create_registered_model("net", tags={"team": "quant"})
        client.create_model_version("net", f"{runs[1].info.artifact_uri}/model", run_ids[1])
        client.register_prompt(PROMPT, "say {{ x }}")
        self.model_id = logged.model_id
        return run_ids


def _rows(connection: sqlite3.Connection, table: str) -> list[Any]:
    found = [
        {key: row[key] if key not in TIMES else row[key] is not None for key in row.keys()}  # noqa: SIM118
        for row in connection.execute(f"SELECT * FROM {table}")
        if "key" not in row.keys() or row["key"] != LATE_TAG  # noqa: SIM118
    ]
    return sorted(map(str, found))


def _without_times(said: Any) -> Any:
    """What a change gave; of a model what a reader of tags and aliases asks for."""
    return (said.name, dict(said.tags), dict(said.aliases)) if hasattr(said, "aliases") else said


@pytest.fixture(scope="module")
def twins(
    mlflow_server: MlflowServer,
    _server_database: Path,
    _server_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Twins:
    template = tmp_path_factory.mktemp("changes") / "mlflow.db"
    template.write_bytes(_server_template.read_bytes())
    return Twins(mlflow_server, _server_database, template)


@given(st.lists(CHANGES, min_size=4, max_size=14))
@FEW
def test_what_is_left_is_what_mlflows_client_leaves(twins: Twins, changes: list[Change]) -> None:
    (ours, left), (theirs, left_by_theirs) = twins.outcome(twins.ours, changes), twins.outcome(twins.theirs, changes)
    # Where a server says INVALID_STATE it says 500, and MLflow's client hears no more of it.
    assert [UNHEARD if one == "ConflictError" and other == UNHEARD else one
            for one, other in zip(ours, theirs, strict=True)] == theirs  # fmt: skip
    assert left == left_by_theirs


@pytest.mark.parametrize("part", ["experiments", "runs", "registry"])
def test_each_change_once(twins: Twins, part: str) -> None:
    """Those that are drawn above may be refused; these are not, but for the last."""
    sequences: dict[str, list[Change]] = {
        "experiments": [
            ("experiments", "create", ("gamma", None, {"a b": "1", "c": ""})),
            ("experiments", "rename", ("1", "delta 日本")),
            ("experiments", "set_tag", ("1", "new", "naïve\n🚀")),
            ("experiments", "delete_tag", ("1", "team")),
            ("experiments", "delete_tag", ("1", "never")),
            ("experiments", "delete", ("1",)),
            ("experiments", "restore", ("2",)),
            ("experiments", "create", ("delta 日本", None, {})),
        ],
        "runs": [
            ("runs", "tag", (1, {f"k{number}": "x" for number in range(150)} | {"mlflow.runName": "n"}, ["team"])),
            ("runs", "delete", (1, "a mark")),
            ("runs", "delete", (1, "another")),
            ("runs", "delete", (2, None)),
            ("runs", "restore", (1,)),
            ("runs", "restore", (3,)),
            ("runs", "tag", (2, {"a": "1"})),
        ],
        "registry": [
            ("registry", "create_version", ("net", 0, NETWORK, {"a": "b=c"}, "words")),
            ("registry", "create_version", ("new 日本", 0, "model", {}, None)),
            ("registry", "set_tag", ("net", "k", "")),
            ("registry", "set_alias", ("net", "champion", 2)),
            ("registry", "set_alias", ("net", "Champion", 1)),
            ("registry", "read", ("net",)),
            ("registry", "delete_alias", ("net", "Champion")),
            ("registry", "delete_tag", ("net", "team")),
            ("registry", "set_stage", ("net", 1, "Staging")),
            ("registry", "set_stage", ("net", 2, "Staging")),
            ("registry", "delete_version", ("net", 2)),
            ("registry", "delete_model", ("new 日本",)),
            ("registry", "delete_model", ("new 日本",)),
        ],
    }  # fmt: skip
    said, left = twins.outcome(twins.ours, sequences[part])
    assert (said, left) == twins.outcome(twins.theirs, sequences[part])
    refused = [one for one in said if isinstance(one, str) and one.endswith("Error")]
    assert len(refused) == 1
    assert refused == said[-1:]


def test_a_prompt_is_no_model(twins: Twins) -> None:
    twins.reset()
    before = twins.tables()
    registry = open_registry_changes(twins.settings)
    for refused in (
        lambda: registry.read(PROMPT),
        lambda: registry.set_alias(PROMPT, "champion", 1),
        lambda: registry.create_version(PROMPT, twins.run_ids[1], "model"),
        lambda: registry.delete_model(PROMPT),
    ):
        with pytest.raises(NotFoundError, match="is a prompt, and no model"):
            refused()
    with pytest.raises(UsageError, match="is_prompt"):
        registry.create_version("new", twins.run_ids[1], "model", tags={"mlflow.prompt.is_prompt": "true"})
    assert twins.tables() == before
    reader = open_registry(twins.settings)
    assert ([one.name for one in reader.list_models()], reader.find_model(PROMPT)) == (["net"], None)
    assert reader.list_model_versions(PROMPT) == []


def test_a_version_that_can_not_be_made_leaves_no_name_behind(twins: Twins) -> None:
    twins.reset()
    before = twins.tables()
    with pytest.raises(NotFoundError):
        open_registry_changes(twins.settings).create_version("new", "f" * 32, "model")
    with pytest.raises(UsageError):
        open_registry_changes(twins.settings).create_version("new", twins.run_ids[1], "model", tags={"": "a"})
    assert twins.tables() == before


def test_where_a_model_lies_is_asked_of_the_server(twins: Twins) -> None:
    twins.reset()
    kept = f"mlflow-artifacts:/alpha/models/{twins.model_id}/artifacts"
    plain = f"mlflow-artifacts:/alpha/{twins.run_ids[1]}/artifacts/model"
    places = {
        f"models:/{twins.model_id}": kept,
        f"runs:/{twins.run_ids[0]}/{NETWORK}": kept,
        f"runs:/{twins.run_ids[1]}/model": plain,
        plain: plain,
    }
    assert {source: model_location(source, twins.settings) for source in places} == places
    with pytest.raises(NotFoundError):
        model_location("models:/m-" + "0" * 32, twins.settings)
    MlflowClient(twins.url).delete_logged_model(twins.model_id)
    files = f"mlflow-artifacts:/alpha/{twins.run_ids[0]}/artifacts/{NETWORK}"
    assert model_location(f"runs:/{twins.run_ids[0]}/{NETWORK}", twins.settings) == files
    with pytest.raises(UnsafeError):
        model_location(
            "https://elsewhere.example/mlflow-artifacts/artifacts/" + "0" * 32 + "/artifacts", twins.settings
        )


# -- what is loaded ----------------------------------------------------------------------------------------

ASK = """
import json, sys
from agentnn.cli.app import run_command

for arguments in json.loads(sys.argv[1]):
    code = run_command(arguments)
    heavy = {"mlflow", "sqlalchemy", "numpy", "pandas", "requests"} & set(sys.modules)
    print(json.dumps([code, sorted(heavy)]), file=sys.stderr)
"""


def test_no_change_loads_mlflow(make_store: Callable[[str], str], tmp_path: Path) -> None:
    url = make_store("server")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    client = MlflowClient(url)
    made = client.create_run("0", run_name="trained")
    client.log_artifacts(made.info.run_id, str(folder), "model")
    client.set_terminated(made.info.run_id)
    commands = [
        "experiment create alpha --tag a=b",
        "experiment rename alpha beta",
        "experiment tag beta c=d --remove a",
        "experiment delete beta --yes",
        "experiment restore beta",
        "run tag trained --set a=1 --set b=2",
        "run note trained words",
        "run delete trained --yes",
        "run restore trained",
        f"run artifacts get trained --to {tmp_path / 'files'}",
        "model register trained --name net",
        f"model register {folder} --name net --alias champion --tag a=b",
        "model promote net 1 --alias champion --no-verify",
        "model promote net 1 --stage Staging --no-verify",
        "model rollback net --alias champion --no-verify",
        "model history net",
        f"model download net@champion --to {tmp_path / 'got'}",
        "model delete net --version 2 --yes --force",
        "model delete net --yes --force",
    ]
    asked = json.dumps(
        [["--tracking-uri", url, *one.split(), *(["-o", "json"] if "note" not in one else [])] for one in commands]
    )
    ran = subprocess.run(
        [sys.executable, "-c", ASK, asked], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    said = [json.loads(line) for line in ran.stderr.splitlines() if line.startswith("[")]
    assert said == [[0, []]] * len(commands), ran.stderr
    assert (tmp_path / "got" / "MLmodel").is_file()
    assert (tmp_path / "files" / "model" / "MLmodel").is_file()
    found = client.get_run(made.info.run_id)
    assert (found.data.tags["a"], found.data.tags["mlflow.note.content"]) == ("1", "words")
    assert client.search_registered_models() == []


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_AUTH"])
def test_a_server_that_only_mlflow_knows_the_way_to_is_changed_by_mlflow(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "true")
    named = Settings("http://127.0.0.1:9", registry_uri="http://127.0.0.1:9")
    found = (open_experiment_changes(named), open_run_changes(named), open_registry_changes(named))
    assert [type(one) for one in found] == [MlflowExperimentChanges, MlflowRunChanges, MlflowRegistryChanges]


# -- what a server may do to us ----------------------------------------------------------------------------

MODEL = {"registered_model": {"name": "net", "tags": []}}


def always(said: bytes) -> Callable[[str, int], bytes]:
    return lambda head, number: said


def changes_of(server: RoughServer) -> tuple[ExperimentChanges, RunChanges, RegistryChanges]:
    named = Settings(server.url, registry_uri=server.url)
    return open_experiment_changes(named), open_run_changes(named), open_registry_changes(named)


def test_a_write_whose_answer_is_lost_is_not_made_again() -> None:
    with RoughServer(lambda head, number: reply(body=MODEL) if head.startswith("GET") else None) as server:
        experiments, _, registry = changes_of(server)
        for write in (
            lambda: experiments.create("alpha", None, {}),
            lambda: experiments.delete("1"),
            lambda: registry.set_alias("net", "champion", 1),
            lambda: registry.delete_alias("net", "champion"),
        ):
            before = len(server.heads)
            with pytest.raises(StoreUnavailable, match="does not answer"):
                write()
            asked = [head.split(" ")[0] for head in server.heads[before:]]
            assert [one for one in asked if one != "GET"] == asked[-1:]


def test_a_server_that_goes_away_among_many_runs_is_asked_no_more_and_what_was_done_is_said() -> None:
    runs = [Run(f"{number:032x}", "m", "0", "Default", "FINISHED") for number in range(60)]
    with RoughServer(lambda head, number: reply(body={}) if number < 6 else None) as server:
        changes = changes_of(server)[1]
        with pytest.raises(StoreUnavailable, match="; 6 of 60 runs were deleted, not .* and 49 more") as failed:
            changes.delete(runs)
        assert failed.value.hint
        assert len(server.heads) <= 6 + AT_ONCE


def test_a_run_that_somebody_else_has_deleted_meanwhile_is_as_it_should_be() -> None:
    refused = {"error_code": "INVALID_PARAMETER_VALUE", "message": "The run a must be in the 'active' state."}
    run = Run("a" * 32, "m", "0", "Default", "FINISHED")
    with RoughServer(always(reply("400 Bad Request", refused))) as server:
        changes = changes_of(server)[1]
        changes.delete([run], mark="together")
        with pytest.raises(ConflictError, match=f"the run {run.run_id} is deleted"):
            changes.tag([run], {"a": "1"})


def test_what_is_taken_away_is_asked_with_a_body() -> None:
    with RoughServer(always(reply(body=MODEL))) as server:
        registry = changes_of(server)[2]
        registry.delete_version("net", 3)
        assert server.heads[1].startswith("DELETE /api/2.0/mlflow/model-versions/delete HTTP/1.1")
        assert "Content-Type: application/json" in server.heads[1]
        registry.delete_tag("net", "a")
        assert (server.connections, len(server.heads)) == (1, 3)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply("409 Conflict", {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "x"}), ConflictError),
        (reply("400 Bad Request", {"error_code": "INVALID_PARAMETER_VALUE", "message": "x"}), UsageError),
        (reply("404 Not Found", {"error_code": "ENDPOINT_NOT_FOUND", "message": ""}), StoreUnavailable),
        (reply("403 Forbidden", {"error_code": "PERMISSION_DENIED", "message": "no"}), StoreUnavailable),
        (reply(body={}), CorruptDataError),
        (reply(body={"experiment_id": ""}), CorruptDataError),
    ],
)
def test_an_experiment_that_was_not_made_is_said(answer: bytes, error: type[AgentNNError]) -> None:
    with RoughServer(always(answer)) as server, pytest.raises(error):
        changes_of(server)[0].create("alpha", None, {})


@pytest.mark.parametrize(
    "answers",
    [
        {"runs/get": {}},
        {"runs/get": {"run": {"info": {}}}},
        {"runs/get": {"run": {"info": {"artifact_uri": "x"}, "outputs": {"model_outputs": [{"model_id": "m-1"}]}}}},
        {"model-versions/create": {}},
        {"model-versions/create": {"model_version": {"version": "one"}}},
        {"registered-models/create": "no object"},
    ],
)
def test_an_answer_that_is_not_mlflows_makes_no_version(answers: dict[str, Any]) -> None:
    usual = {
        "runs/get": {"run": {"info": {"artifact_uri": "x"}}},
        "registered-models/get": MODEL,
        "model-versions/create": {},
    }

    def said(head: str, number: int) -> bytes:
        endpoint = head.split(" ")[1].partition("?")[0].removeprefix("/api/2.0/mlflow/")
        return reply(body={**usual, **answers}.get(endpoint, {}))

    with RoughServer(said) as server, pytest.raises((CorruptDataError, StoreUnavailable)):
        changes_of(server)[2].create_version("net", "a" * 32, "model")
