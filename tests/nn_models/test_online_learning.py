"""The online learner as its users see it, without a run."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from agentnn.errors import ConflictError, CorruptDataError, TrainingError, UnsafeError, UsageError
from agentnn.nn_models.online.stream_events import Label, Sample
from agentnn.nn_models.online_learning import OnlineLearner, OnlineOptions
from agentnn.training.loop.checkpoints import write_state

if TYPE_CHECKING:
    from collections.abc import Callable

FEATURES = 4


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(dropout: float = 0.0, outputs: int = 1) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, outputs))


def stream(count: int, seed: int = 1, shift_at: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    inputs = chance.normal(size=(count, FEATURES)).astype(np.float32)
    targets = inputs @ np.array([1.0, -2.0, 0.5, 0.0], dtype=np.float32)
    if shift_at is not None:
        targets[shift_at:] = 6 - targets[shift_at:]
    return inputs, targets


class Watched(OnlineLearner):
    """A learner without a run, whose predictions are kept."""

    def __init__(
        self, model: nn.Module | None = None, criterion: Any = None, optimizer: Any = None, **given: Any
    ) -> None:
        self.outputs: dict[int, float] = {}
        passed = {name: given.pop(name) for name in ("measures", "on_drift") if name in given}
        super().__init__(
            network() if model is None else model,
            criterion or nn.MSELoss(),
            optimizer,
            OnlineOptions(**{"background": False, **given}),
            on_predictions=self._keep_outputs,
            track=False,
            **passed,
        )

    def _keep_outputs(self, tickets: list[int], outputs: Tensor) -> None:
        self.outputs |= dict(zip(tickets, outputs[:, 0].tolist(), strict=True))

    @property
    def weights(self) -> list[float]:
        return [value for one in self.model.state_dict().values() for value in one.flatten().tolist()]


def fed(learner: Watched, inputs: np.ndarray, targets: np.ndarray) -> Watched:
    with learner:
        for x, y in zip(inputs, targets, strict=True):
            learner.put(x, y)
        learner.drain()
    return learner


def through_zero(**given: Any) -> Watched:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    return Watched(model, nn.MSELoss(), torch.optim.SGD(model.parameters(), lr=0.1), batch_size=1, **given)


def test_the_prequential_error_by_hand():
    learner = through_zero()
    with learner:
        for _ in range(3):
            learner.put([1.0], 1.0)
    # The weight: 0, then 0 + 0.1 * 2 * (1 - 0) = 0.2, then 0.2 + 0.1 * 2 * (1 - 0.2) = 0.36.
    assert list(learner.outputs.values()) == pytest.approx([0.0, 0.2, 0.36])
    assert learner.metrics["prequential_loss"] == pytest.approx((1 + 0.8**2 + 0.64**2) / 3)
    assert learner.counts.steps == 3


def test_a_sample_is_predicted_when_it_arrives_and_learned_when_its_label_comes():
    with through_zero() as learner:
        first, second = learner.observe([1.0]), learner.observe([1.0])
        assert (first.ticket, second.ticket) == (0, 1)
        learner.learn(0, 1.0)
        third = learner.observe([1.0])
        learner.learn(1, 1.0)  # judged by what was said when it came, not by what would be said now
    assert [one.output.item() for one in (first, second, third)] == pytest.approx([0.0, 0.0, 0.2])
    assert learner.metrics["prequential_loss"] == 1.0
    assert (learner.counts.observed, learner.counts.judged, learner.counts.learned) == (3, 2, 2)


@pytest.mark.parametrize("background", [False, True])
def test_late_labels_of_samples_that_were_put(background: bool):
    inputs, targets = stream(300)
    learner = Watched(background=background, batch_size=8, detector="none")
    with learner:
        tickets = []
        for number, x in enumerate(inputs):
            tickets.append(learner.put(x))
            if number >= 5:
                learner.learn(tickets[number - 5], targets[number - 5])
        learner.drain()
    by_hand = network()
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=1e-3)
    said = []
    for number, x in enumerate(inputs):
        said.append(by_hand(torch.from_numpy(x)[None]).item())
        known = number - 4  # labels that have come after this sample
        if known > 0 and known % 8 == 0:
            rows = slice(known - 8, known)
            optimizer.zero_grad()
            nn.functional.mse_loss(
                by_hand(torch.from_numpy(inputs[rows]))[:, 0], torch.from_numpy(targets[rows])
            ).backward()
            optimizer.step()
    assert [learner.outputs[ticket] for ticket in tickets] == pytest.approx(said, abs=1e-5)
    errors = (np.array(said[:295]) - targets[:295]) ** 2
    assert learner.metrics["prequential_loss"] == pytest.approx(errors.mean(), rel=1e-4)


@pytest.mark.parametrize("background", [False, True])
def test_another_future_does_not_move_the_predictions_of_the_past(background: bool):
    inputs, targets = stream(200)
    others, other_targets = inputs.copy(), targets.copy()
    others[120:] += 5.0
    other_targets[119:] *= -3.0  # the target of 119 is known only after it was predicted
    options = {"background": background, "batch_size": 8, "memory": 50, "replayed": 8, "seed": 3}
    one, other = (fed(Watched(network(0.2), **options), x, y) for x, y in ((inputs, targets), (others, other_targets)))
    assert len(one.outputs) == len(other.outputs) == 200
    same = [
        one.outputs[ticket] == pytest.approx(other.outputs[ticket], abs=0 if not background else 1e-5)
        for ticket in range(200)
    ]
    assert all(same[:120])
    assert not any(same[130:])


@pytest.mark.parametrize("background", [False, True])
def test_late_labels_of_another_future_do_not_either(background: bool):
    inputs, targets = stream(200)
    others, other_targets = inputs.copy(), targets.copy()
    others[120:] += 5.0
    other_targets[117:] *= -3.0  # the target of 117 comes after 120 was predicted
    said = []
    for x, y in ((inputs, targets), (others, other_targets)):
        with Watched(background=background, batch_size=4) as learner:
            outputs = []
            for number in range(200):
                if number >= 4:
                    learner.learn(number - 4, y[number - 4])
                learner.drain()  # observe() predicts with the steps that are done by now
                outputs.append(learner.observe(x[number]).output.item())
        said.append(outputs)
    assert said[0][:120] == said[1][:120]
    assert said[0][125:] != said[1][125:]


events = st.lists(
    st.tuples(st.sampled_from(["labelled", "bare", "observed", "label"]), st.integers(0, 40)), max_size=80
)


@settings(max_examples=40)
@given(events, st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5))
def test_nothing_depends_on_how_many_events_are_taken_at_once(given_events, sizes, batch_size):
    learners = [
        Watched(network(0.2), batch_size=batch_size, memory=8, replayed=2, seed=1, most_waiting=9) for _ in range(2)
    ]
    inputs, targets = stream(81)
    for learner, chunks in zip(learners, (itertools.repeat(1), itertools.cycle(sizes)), strict=True):
        learning, made = learner._learning, []
        learner.model.train()
        tickets = itertools.count()
        for kind, which in given_events:
            y = np.array(targets[which])
            if kind == "label":
                made.append(Label(which, y))
                continue
            output = torch.full((1,), 0.5) if kind == "observed" else None
            made.append(Sample(inputs[which], y if kind == "labelled" else None, output, next(tickets)))
        waiting = iter(made)
        while chunk := list(itertools.islice(waiting, next(chunks))):
            learning.process(chunk)
    one, other = learners
    assert one.counts == other.counts
    assert one.weights == other.weights
    assert one.outputs == pytest.approx(other.outputs, abs=1e-5)
    assert one.metrics == pytest.approx(other.metrics, rel=1e-4)


def test_the_same_calls_give_the_same_to_the_bit():
    data = stream(400, shift_at=250)
    options = {
        "batch_size": 8,
        "memory": 64,
        "replayed": 4,
        "seed": 11,
        "hypergradient": 0.02,
        "reactions": ("reset_head",),
    }
    one, other = (fed(Watched(network(0.3), **options), *data) for _ in range(2))
    assert one.drifts
    assert (one.outputs, one.weights, one.metrics, one.drifts) == (
        other.outputs,
        other.weights,
        other.metrics,
        other.drifts,
    )


def test_a_seed_leaves_the_random_numbers_of_the_process_alone():
    before = torch.get_rng_state()
    fed(Watched(network(0.3), seed=1, batch_size=4, memory=8, replayed=2), *stream(40))
    assert torch.equal(torch.get_rng_state(), before)


class Noted(nn.Linear):
    """Notes the random numbers of its training."""

    def __init__(self) -> None:
        super().__init__(FEATURES, 1)
        self.seen: list[float] = []

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.seen.append(torch.rand(()).item())
        return super().forward(inputs)


def test_each_step_has_random_numbers_of_its_own_that_follow_from_the_seed():
    seen = [fed(Watched(Noted(), batch_size=4, seed=seed), *stream(40)).model.seen for seed in (1, 1, 2)]
    assert seen[0] == seen[1]
    assert len({*seen[0], *seen[2]}) == 20


def test_only_new_samples_enter_the_memory():
    learner = fed(Watched(batch_size=8, memory=1000, replayed=24), *stream(80))
    assert len(learner._learning.steps.memory) == 80


def test_the_thread_makes_the_same_steps():
    data = stream(3000, shift_at=2000)
    options = {"batch_size": 16, "memory": 200, "replayed": 8, "seed": 2, "put_timeout_s": 60.0, "capacity": 100}
    direct = fed(Watched(network(0.2), **options), *data)
    threaded = fed(Watched(network(0.2), background=True, **options), *data)
    assert direct.counts == threaded.counts
    assert [one.sample for one in direct.drifts] == [one.sample for one in threaded.drifts] != []
    assert direct.weights == threaded.weights
    assert direct.metrics == pytest.approx(threaded.metrics, rel=1e-5)


def test_classes_and_more_measures():
    inputs, targets = stream(400)
    classes = (targets > 0).astype(np.int64)

    def wrong(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.argmax(dim=1) != targets).double()

    learner = Watched(network(outputs=2), nn.CrossEntropyLoss(), measures={"mistakes": wrong}, learning_rate=0.05)
    fed(learner, inputs, classes)
    assert learner.metrics["prequential_mistakes"] < 0.25
    assert learner.metrics["prequential_mistakes_windowed"] == learner.metrics["prequential_mistakes"]
    bad = Watched(measures={"one": lambda outputs, targets: outputs.mean()})
    with pytest.raises(UsageError, match="measure 'one' gives shape"), bad:
        bad.put(inputs[0], targets[0])


def test_what_is_not_finite_is_left_out_and_counted():
    inputs, targets = stream(64)
    clean = fed(Watched(batch_size=8, detector="none"), inputs, targets)
    with Watched(batch_size=8, detector="none") as dirty:
        for number, (x, y) in enumerate(zip(inputs, targets, strict=True)):
            if number % 10 == 3:
                dirty.put(np.full(FEATURES, np.inf), 1.0)
                dirty.put(x, np.nan)
                dirty.learn(dirty.put(np.full(FEATURES, np.nan)), 1.0)
            dirty.put(x, y)
    assert dirty.counts.invalid == 21
    assert dirty.weights == clean.weights
    assert dirty.metrics == clean.metrics


def test_labels_that_nobody_waits_for_are_counted():
    with Watched(most_waiting=2) as learner:
        tickets = [learner.put(np.zeros(FEATURES)) for _ in range(3)]
        learner.learn(tickets[0], 1.0)
        learner.learn(tickets[1], 1.0)
        learner.learn(tickets[1], 1.0)
        with pytest.raises(UsageError, match="no sample has the ticket 3"):
            learner.learn(3, 1.0)
    assert (learner.counts.expired, learner.counts.unmatched, learner.counts.judged) == (1, 2, 1)


def test_a_drift_raises_the_learning_rate_and_is_told():
    told = []
    inputs, targets = stream(1200, shift_at=800)
    learner = Watched(batch_size=8, learning_rate=0.01, on_drift=told.append, raise_steps=20)
    rates = []
    with learner:
        for x, y in zip(inputs, targets, strict=True):
            learner.put(x, y)
            rates.append(learner._learning.steps.learning_rate.value)
    [drift] = told
    assert learner.drifts == (drift,)
    assert 800 < drift.sample < 900
    assert drift.after > drift.before
    assert set(rates[: drift.sample - 1]) == {0.01}
    assert max(rates) == pytest.approx(0.05)
    assert rates[-1] == 0.01


def test_no_drift_is_seen_where_there_is_none():
    for seed in range(3):
        assert fed(Watched(learning_rate=0.02), *stream(1500, seed)).drifts == ()


@pytest.mark.parametrize("reaction", ["reset_optimizer", "reset_head"])
def test_a_drift_resets_the_optimizer_or_the_head_just_before_the_next_step(reaction: str):
    inputs, targets = stream(1000, shift_at=600)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    learner = Watched(model, optimizer=optimizer, batch_size=8, reactions=(reaction,), seed=1)
    steps, jumps = {}, {}
    before = model.state_dict()["3.weight"].clone()
    with learner:
        for number, (x, y) in enumerate(zip(inputs, targets, strict=True), start=1):
            learner.put(x, y)
            if number % 8 == 0:
                steps[number] = tuple(int(optimizer.state[one]["step"]) for one in (model[0].weight, model[3].weight))
                jumps[number] = (model.state_dict()["3.weight"] - before).abs().max().item()
                before = model.state_dict()["3.weight"].clone()
    [drift] = learner.drifts
    step = -(-drift.sample // 8) * 8
    so_far = step // 8
    assert steps[step - 8] == (so_far - 1, so_far - 1)
    assert steps[step] == ((1, 1) if reaction == "reset_optimizer" else (so_far, 1))
    assert (jumps[step] > 0.1) == (reaction == "reset_head")


def eventful(**given: Any) -> Watched:
    """A learner that uses everything that has to be kept."""
    options = {
        "batch_size": 8,
        "memory": 40,
        "replayed": 5,
        "hypergradient": 0.01,
        "learning_rate": 0.01,
        "most_waiting": 30,
        "reactions": ("raise_learning_rate", "reset_head"),
    }
    return Watched(network(0.2), **{**options, **given})


def eventfully_fed(learner: Watched, inputs: np.ndarray, targets: np.ndarray, start: int, end: int) -> None:
    """Every third sample's label comes late."""
    for number in range(start, end):
        learner.put(inputs[number], None if number % 3 == 0 else targets[number])
        if number >= 10 and (number - 10) % 3 == 0:
            learner.learn(number - 10, targets[number - 10])


@pytest.mark.parametrize("seed", [4, None])
@pytest.mark.parametrize("cut", [5, 333, 620])
def test_a_restored_learner_goes_on_to_the_bit(cut: int, seed: int | None, tmp_path: Path):
    inputs, targets = stream(900, shift_at=560)
    torch.manual_seed(1)
    with eventful(seed=seed) as whole:
        eventfully_fed(whole, inputs, targets, 0, cut)
        digest = whole.snapshot(tmp_path / "state.pt")
        eventfully_fed(whole, inputs, targets, cut, 900)
    torch.manual_seed(99)
    with eventful(seed=seed) as later:
        assert later.restore(tmp_path / "state.pt") == digest
        eventfully_fed(later, inputs, targets, cut, 900)
    assert whole.drifts
    assert later.weights == whole.weights
    assert (later.counts, later.metrics, later.drifts) == (whole.counts, whole.metrics, whole.drifts)
    assert later.outputs == {ticket: output for ticket, output in whole.outputs.items() if ticket in later.outputs}
    assert len(later.outputs) >= 900 - cut - 1


def test_a_snapshot_of_a_running_learner_loses_nothing(tmp_path: Path):
    inputs, targets = stream(1500)
    options = {"batch_size": 8, "memory": 40, "replayed": 4, "seed": 1, "detector": "none", "put_timeout_s": 60.0}
    direct = fed(Watched(network(0.2), **options), inputs, targets)
    with Watched(network(0.2), background=True, **options) as learner:
        for x, y in zip(inputs[:1000], targets[:1000], strict=True):
            learner.put(x, y)
        learner.snapshot(tmp_path / "state.pt")
        is_queued = learner.queue_depth > 0
    with Watched(network(0.2), **options) as later:
        later.restore(tmp_path / "state.pt")
        for x, y in zip(inputs[1000:], targets[1000:], strict=True):
            later.put(x, y)
    assert is_queued
    assert later.counts == direct.counts
    assert later.weights == direct.weights


def test_snapshots_are_made_by_themselves(tmp_path: Path):
    path = tmp_path / "kept" / "state.pt"
    inputs, targets = stream(100)
    with Watched(snapshot_path=str(path), snapshot_every=40) as learner:
        for x, y in zip(inputs[:60], targets[:60], strict=True):
            learner.put(x, y)
        made_meanwhile = Watched()
        made_meanwhile.restore(path)
        learner.put(inputs[60], targets[60])
    assert made_meanwhile.counts.judged == 40
    at_the_end = Watched()
    at_the_end.restore(path)
    assert at_the_end.counts.judged == 61
    assert path.stat().st_mode & 0o777 == 0o600


def test_snapshots_that_are_damaged_or_of_something_else_are_refused(tmp_path: Path):
    path = tmp_path / "state.pt"
    learner = fed(Watched(), *stream(50))
    learner.snapshot(path)
    whole = path.read_bytes()
    before = learner.weights
    for place in (len(whole) // 3, len(whole) // 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CorruptDataError):
            learner.restore(path)
    path.write_bytes(whole)
    with pytest.raises(ConflictError, match="its batch_size was 32, and is 16 now"):
        Watched(batch_size=16).restore(path)
    with pytest.raises(ConflictError, match="another learner"):
        Watched(nn.Linear(FEATURES, 1)).restore(path)
    write_state(path, {"format": 1, "epoch": 3})
    with pytest.raises(CorruptDataError, match="online learner"):
        learner.restore(path)
    torch.save({"format": 1, "kind": "online_learner", "payload": Path}, path)
    with pytest.raises(UnsafeError):
        learner.restore(path)
    with pytest.raises(UsageError, match="no place"):
        learner.snapshot()
    assert learner.weights == before


def test_a_restoration_that_fails_changes_nothing(tmp_path: Path):
    fed(Watched(), *stream(64)).snapshot(tmp_path / "state.pt")
    model = network()
    groups = [{"params": model[0].parameters()}, {"params": model[3].parameters()}]
    other = Watched(model, optimizer=torch.optim.Adam(groups))
    before = other.weights
    with pytest.raises(ConflictError, match="another learner"):
        other.restore(tmp_path / "state.pt")
    assert other.weights == before
    assert other.counts.judged == 0


def test_predictions_while_it_learns():
    inputs, targets = stream(2000)
    learner = Watched(network(0.5), background=True, put_timeout_s=60.0)
    with learner:
        outputs = []
        for x, y in zip(inputs, targets, strict=True):
            learner.put(x, y)
            if len(outputs) < 50:
                outputs.append(learner.predict(inputs[:3]))
        learner.drain()
        last = learner.predict(inputs[:3])
    assert all(one.shape == (3, 1) for one in outputs)
    learner.model.eval()
    assert torch.equal(last, learner.model(torch.from_numpy(inputs[:3])).detach())


def blocked(**given: Any) -> tuple[Watched, Callable[[], None]]:
    """A learner in the background whose first step does not end before the function is called."""
    may_go_on = threading.Event()

    def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
        may_go_on.wait(60)
        return (outputs - targets).pow(2).mean()

    measures = {"loss": lambda outputs, targets: (outputs - targets).pow(2).mean(dim=1)}
    return Watched(criterion=criterion, measures=measures, background=True, batch_size=1, **given), may_go_on.set


def test_a_producer_is_not_blocked_by_a_learner_that_is():
    learner, go_on = blocked(capacity=3, put_timeout_s=0.0, when_full="drop_newest")
    with learner:
        learner.predict(np.zeros((1, FEATURES)))  # only the first one waits for a step that goes on
        first = learner.put(np.zeros(FEATURES), 1.0)
        while learner.counts.judged == 0:
            time.sleep(0.001)
        tickets = [learner.put(np.zeros(FEATURES), 1.0) for _ in range(5)]
        assert learner.predict(np.zeros((1, FEATURES))).shape == (1, 1)
        go_on()
        learner.drain()
    assert [first, *tickets] == [0, 1, 2, 3, None, None]
    assert learner.dropped == 2
    assert learner.counts.learned == 4


def test_a_stop_works_off_what_is_queued():
    learner, go_on = blocked(capacity=100, stop_timeout_s=60.0)
    with learner:
        for _ in range(50):
            learner.put(np.zeros(FEATURES), 1.0)
        is_queued = learner.queue_depth > 10
        go_on()
    assert is_queued
    assert (learner.counts.learned, learner.queue_depth) == (50, 0)


def test_a_stop_while_somebody_puts_leaves_nothing_uncounted():
    learner = Watched(background=True, capacity=200, put_timeout_s=0.001, stop_timeout_s=0.0)
    inputs, targets = stream(1)
    taken, raised = [], []

    def produce() -> None:
        try:
            while True:
                taken.append(learner.put(inputs[0], targets[0]))
        except ConflictError as error:
            raised.append(error)

    with learner:
        producers = [threading.Thread(target=produce) for _ in range(2)]
        for one in producers:
            one.start()
        while learner.counts.steps < 5:
            time.sleep(0.001)
    for one in producers:
        one.join(30)
    assert [one.hint for one in raised] == ["start it: start()"] * 2
    assert sorted(taken) == list(range(len(taken)))
    assert learner.counts.observed + learner.queue_depth + learner.dropped == len(taken)
    assert learner.counts.judged == learner.counts.observed


def test_it_may_be_stopped_twice_and_started_again():
    inputs, targets = stream(64)
    learner = Watched(background=True)
    learner.model.eval()
    with pytest.raises(ConflictError, match="takes nothing"):
        learner.put(inputs[0], targets[0])
    for _ in range(2):
        learner.start()
        with pytest.raises(ConflictError, match="started already"):
            learner.start()
        for x, y in zip(inputs, targets, strict=True):
            learner.put(x, y)
        learner.drain()
        learner.stop()
        learner.stop()
    assert learner.counts.learned == 128


def test_the_mode_of_the_model_is_left_as_it_was():
    model = network().eval()
    fed(Watched(model), *stream(40))
    assert not any(one.training for one in model.modules())


@pytest.mark.parametrize("background", [False, True])
def test_weights_that_are_no_longer_finite_end_it(background: bool):
    inputs, targets = stream(2000)
    model = nn.Linear(FEATURES, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e6)
    with (
        pytest.raises(TrainingError, match="no longer finite"),
        Watched(model, optimizer=optimizer, background=background) as learner,
    ):
        for x, y in zip(inputs, targets, strict=True):
            learner.put(x, y)
        learner.drain()


def test_an_error_in_the_thread_reaches_the_producer():
    learner = Watched(
        criterion=lambda outputs, targets: 1 / 0,
        measures={"loss": lambda o, t: o.sum(dim=1)},
        background=True,
        batch_size=1,
    )
    with pytest.raises(TrainingError, match="division by zero") as raised, learner:
        while True:
            learner.put(np.zeros(FEATURES), 0.0)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
