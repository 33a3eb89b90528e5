"""What the documents of a run say in MLflow's terms, whoever wrote them."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnn.records import DatasetInput, Metric
from agentnn.stores.toml.runs.run_documents import facts_of, milliseconds_of, one_point
from agentnn.stores.toml.text.documents import parse, render

WRITTEN = 1_700_000_000_000
TEXT = st.text(max_size=5)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.integers(), st.floats(), st.booleans(), TEXT, st.datetimes(), st.dates(), st.times()),
    lambda inside: st.one_of(st.lists(inside, max_size=3), st.dictionaries(TEXT, inside, max_size=3)),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        "run_id",
        "project",
        "name",
        "status",
        "created_at",
        "ended_at",
        "user",
        "git_commit",
        "parent_run_id",
        "process",
        "lifecycle_stage",
        "tags",
        "datasets",
    ]
)


def test_what_a_run_says_of_itself():
    config = {
        "lr": 0.001,
        "model": {"name": "CNN", "layers": [64, 32], "dropout": None, "bias": True, "extra": {}},
        "since": date(2024, 1, 2),
        "_meta": {
            "run_id": "r1",
            "project": "My project",
            "name": "small",
            "status": "FAILED",
            "lifecycle_stage": "deleted",
            "created_at": datetime(2024, 1, 1, 0, 0, 0, 5000, tzinfo=UTC),
            "ended_at": datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            "user": "ada",
            "git_commit": "c0ffee",
            "parent_run_id": "r0",
            "process": "{}",
            "tags": {"stage": "try", "nested": {"key": 5}},
            "datasets": [
                {"name": "train", "digest": "d1", "context": "training"},
                {"name": "all", "digest": "d2", "tags": {"mlflow.data.context": "eval"}},
                {"digest": "no name"},
            ],
        },
        "_wandb": {"url": "https://wandb.ai/x", "mode": "offline", "entity": None},
    }
    metrics = {"loss": 0.5, "val": {"loss": 1, "text": "good"}, "done": True, "roc": [0.1, 0.2], "nan": math.nan}
    facts = facts_of("r1", config, metrics, WRITTEN)
    assert facts.name == "small"
    assert facts.status == "FAILED"
    assert facts.lifecycle_stage == "deleted"
    assert facts.start_time == 1_704_067_200_005
    assert facts.end_time == 1_704_067_200_000
    assert facts.user == "ada"
    assert facts.params == {
        "lr": "0.001", "model.name": "CNN", "model.layers": "[64, 32]", "model.dropout": "None", "model.bias": "True",
        "model.extra": "{}", "since": "2024-01-02",
    }  # fmt: skip
    assert {key: value for key, value in facts.metrics.items() if key != "nan"} == {
        "loss": 0.5, "val.loss": 1.0, "done": 1.0,
    }  # fmt: skip
    assert math.isnan(facts.metrics["nan"])
    assert all(type(value) is float for value in facts.metrics.values())
    assert facts.tags == {
        "mlflow.runName": "small", "mlflow.source.git.commit": "c0ffee", "mlflow.parentRunId": "r0",
        "agentnn.process": "{}", "stage": "try", "nested.key": "5", "metrics.val.text": "good",
        "metrics.roc": "[0.1, 0.2]", "wandb.url": "https://wandb.ai/x", "wandb.mode": "offline",
    }  # fmt: skip
    assert facts.datasets == (DatasetInput("all", "d2", "eval"), DatasetInput("train", "d1", "training"))


def test_files_that_say_nothing_are_a_good_run():
    facts = facts_of("r1", {"lr": 0.1}, {}, WRITTEN)
    assert facts[:6] == ("r1", "FINISHED", "active", WRITTEN, None, None)
    assert facts.tags == {}
    assert facts.params == {"lr": "0.1"}


def test_tags_win_over_fields():
    meta = {"name": "a", "git_commit": "b", "tags": {"mlflow.runName": "c", "mlflow.source.git.commit": "d"}}
    facts = facts_of("r1", {"_meta": meta}, {}, WRITTEN)
    assert facts.name == "c"
    assert facts.tags == {"mlflow.runName": "c", "mlflow.source.git.commit": "d"}


def test_the_user_is_also_a_tag():
    assert facts_of("r1", {"_meta": {"tags": {"mlflow.user": "ada"}}}, {}, WRITTEN).user == "ada"


@given(st.one_of(ANYTHING, st.dictionaries(FIELDS, ANYTHING)), ANYTHING, st.dictionaries(TEXT, ANYTHING, max_size=3))
def test_nothing_in_the_documents_stops_a_reader(meta: Any, wandb: Any, metrics: dict[str, Any]):
    facts = facts_of("r1", {"_meta": meta, "_wandb": wandb, **metrics}, metrics, WRITTEN)
    assert isinstance(facts.name, str)
    assert facts.status in ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
    assert isinstance(facts.start_time, int)
    assert facts.end_time is None or isinstance(facts.end_time, int)
    for texts in (facts.params, facts.tags):
        assert all(isinstance(key, str) and isinstance(text, str) for key, text in texts.items())


def test_two_values_of_one_name_are_both_kept():
    facts = facts_of("r1", {"a": {"b": 1}, "a.b": 2}, {"x.y": 1, "x": {"y": 2}}, WRITTEN)
    assert facts.params == {"a.b": "1", '"a.b"': "2"}
    assert facts.metrics == {"x.y": 1.0, '"x.y"': 2.0}


def test_integers_that_no_float_can_hold_are_infinite():
    facts = facts_of("r1", {}, {"a": 10**400, "b": -(10**400)}, WRITTEN)
    assert facts.metrics == {"a": math.inf, "b": -math.inf}


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (datetime(1970, 1, 1, 0, 0, 1), 1000),  # noqa: DTZ001
        (datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC), -1),
        (date(1970, 1, 2), 86_400_000),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-02", 86_400_000),
        (10**17, 10**17),
        (-5, -5),
        ("yesterday", None),
        (True, None),
        (1.5, None),
        (2**70, None),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=23))), 253402383599999),
    ],
)
def test_times(value: Any, milliseconds: int | None):
    assert milliseconds_of(value) == milliseconds


def test_a_metric_without_a_history_has_one_point():
    points = one_point({"loss": 0.5, "val": {"acc": 1}, "text": "x"}, WRITTEN, ["loss"])
    assert points == [Metric("val.acc", 1.0, 0, WRITTEN)]


def test_what_was_written_says_the_same_when_it_is_read():
    meta = {"name": "a", "created_at": datetime(2024, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC), "tags": {"a.b": "x\ny"}}
    config = {"lr": 1e-5, "none": None, "_meta": meta}
    written = parse(render(config), "here")
    assert facts_of("r", written, {}, WRITTEN)._replace(params={}) == facts_of("r", config, {}, WRITTEN)._replace(
        params={}
    )
    assert facts_of("r", written, {}, WRITTEN).params == {"lr": "1e-05", "none": "None"}
