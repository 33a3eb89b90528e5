"""The queue, the learning rate, the memory and the copies that predict."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from agentnn.errors import ConflictError, TrainingError, UsageError
from agentnn.nn_models.online.learning_rate import LearningRate
from agentnn.nn_models.online.options import OnlineOptions
from agentnn.nn_models.online.reactions import find_head, reset_weights
from agentnn.nn_models.online.sample_losses import loss_a_sample
from agentnn.nn_models.online.sample_memory import SampleMemory
from agentnn.nn_models.online.served_model import ServedModel
from agentnn.nn_models.online.stream_buffer import StreamBuffer
from agentnn.nn_models.online.stream_events import Label, Rows, Sample, packed, unpacked
from agentnn.nn_models.online.turn import Turn
from agentnn.training.loop.optimisation import QuantileLoss
from agentnn.training.loop.steps import Samples


def sample(value: float) -> Sample:
    return Sample(np.array([value], dtype=np.float32), None)


def values_in(buffer: StreamBuffer) -> list[float]:
    return [float(one.x[0]) for one in buffer.state().events]


def test_a_full_queue_gives_up_the_oldest_the_newest_or_raises():
    oldest, newest, raising = (StreamBuffer(2, 0.0, policy) for policy in ("drop_oldest", "drop_newest", "raise"))
    for buffer in (oldest, newest, raising):
        assert buffer.put(sample(1.0))
        assert buffer.put(sample(2.0))
    assert oldest.put(sample(3.0))
    assert (values_in(oldest), oldest.dropped) == ([2.0, 3.0], 1)
    assert not newest.put(sample(3.0))
    assert (values_in(newest), newest.dropped) == ([1.0, 2.0], 1)
    with pytest.raises(TrainingError, match="2 samples wait already"):
        raising.put(sample(3.0))
    assert (values_in(raising), raising.dropped) == ([1.0, 2.0], 0)


def test_only_what_is_taken_gets_a_number_and_numbers_follow_the_arrival():
    buffer = StreamBuffer(3, 0.0, "drop_newest")
    events = [sample(1.0), sample(2.0), Label(0, np.array(1.0)), sample(3.0)]
    taken = [buffer.put(one) for one in events]
    assert taken == [True, True, True, False]
    buffer.take(1)
    buffer.put(events[-1])
    assert [one.ticket for one in events] == [0, 1, 0, 2]


def test_a_producer_that_waits_goes_on_when_there_is_room_or_the_end():
    buffer = StreamBuffer(4, 30.0, "raise")
    for value in range(4):
        buffer.put(sample(float(value)))
    answers: list[object] = []

    def produce() -> None:
        answers.append(buffer.put(sample(4.0)))
        try:
            buffer.put(sample(5.0))
        except ConflictError as error:
            answers.append(error)

    producer = threading.Thread(target=produce)
    producer.start()
    while not buffer._waiting_producers:
        time.sleep(0.001)
    assert len(buffer.take(1)) == 1
    while not (answers and buffer._waiting_producers):
        time.sleep(0.001)
    buffer.close()
    producer.join(30)
    assert answers[0] is True
    assert isinstance(answers[1], ConflictError)
    assert buffer.longest_wait_s > 0


def test_rows_are_copies_and_all_alike():
    rows = Rows("x", torch.float32)
    given = np.array([1.0, 2.0])
    row = rows.row(given)
    given[0] = 9.0
    assert row.tolist() == [1.0, 2.0]
    assert row.dtype == np.float32
    tensor = torch.tensor([3.0, 4.0])
    row = rows.row(tensor)
    tensor[0] = 9.0
    assert row.tolist() == [3.0, 4.0]
    assert rows.row([5, 6]).dtype == np.float32
    with pytest.raises(UsageError, match=r"x has the shape \(3,\), and the first one had \(2,\)"):
        rows.row([1.0, 2.0, 3.0])
    with pytest.raises(UsageError, match="not an array of numbers"):
        rows.row(["a", "b"])


def test_whole_numbers_stay_whole():
    rows = Rows("y", torch.float32)
    assert rows.row(1).dtype == np.int64
    assert rows.row(np.int32(2)).dtype == np.int64
    with pytest.raises(UsageError, match="with a fraction"):
        rows.row(1.5)


def test_events_survive_packing():
    events = [
        Sample(np.array([1.0, 2.0], dtype=np.float32), None, torch.tensor([0.5]), 7),
        Label(3, np.array(4.0, dtype=np.float32)),
        Sample(np.array([3.0, 4.0], dtype=np.float32), np.array(6.0, dtype=np.float32), None, 8),
    ]
    for given in (events, events[:1], []):
        again = unpacked(packed(given), torch.device("cpu"))
        assert [type(one) for one in again] == [type(one) for one in given]
        assert [(one.ticket, one.y) for one in again] == [(one.ticket, one.y) for one in given]
        for one, before in zip(again, given, strict=True):
            if isinstance(one, Sample):
                assert one.x.tolist() == before.x.tolist()
                assert (one.output is None) == (before.output is None)


def line(rate: float) -> tuple[nn.Parameter, torch.optim.Optimizer]:
    weight = nn.Parameter(torch.tensor([1.0]))
    return weight, torch.optim.SGD([weight], lr=rate)


def test_a_raised_learning_rate_comes_down_in_equal_parts():
    _, optimizer = line(0.1)
    rate = LearningRate(optimizer, factor=5.0, steps=4, hypergradient=0.0)
    rate.raise_for_a_while()
    seen = []
    for _ in range(6):
        rate.before_step()
        seen.append(rate.value)
    assert seen == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.1])


def test_the_learning_rate_follows_the_gradients():
    weight, optimizer = line(0.1)
    rate = LearningRate(optimizer, factor=1.0, steps=1, hypergradient=0.5)
    seen = []
    for slope in (
        1.0,
        1.0,
        -1.0,
        -1.0,
    ):  # the second step agrees with the first, the third goes back, the fourth agrees
        rate.before_step()
        seen.append(rate.value)
        weight.grad = torch.tensor([slope])
        optimizer.step()
        rate.after_step()
    rate.before_step()
    assert [*seen, rate.value] == pytest.approx([0.1, 0.1, 0.15, 0.075, 0.1125])


def test_an_adapted_learning_rate_stays_within_a_factor_of_ten():
    weight, optimizer = line(0.1)
    rate = LearningRate(optimizer, factor=1.0, steps=1, hypergradient=1.0)
    for _ in range(10):
        rate.before_step()
        weight.grad = torch.tensor([1.0])
        optimizer.step()
        rate.after_step()
    rate.before_step()
    assert rate.value == pytest.approx(1.0)


def test_the_memory_holds_the_latest_and_draws_from_what_was_before():
    memory = SampleMemory(4, 8, seed=1)
    rows = [Samples(torch.full((3, 1), float(number)), torch.full((3,), float(number))) for number in range(3)]
    assert memory.with_older(rows[0]) is rows[0]
    memory.add(rows[0])
    drawn = memory.with_older(rows[1])
    assert drawn.inputs.flatten().tolist() == [1.0] * 3 + [0.0] * 8
    memory.add(rows[1])
    assert len(memory) == 4
    again = SampleMemory(4, 8, seed=5)
    again.restore(memory.state())
    assert torch.equal(memory.with_older(rows[2]).inputs, again.with_older(rows[2]).inputs)
    assert set(memory.with_older(rows[2]).targets.tolist()) <= {0.0, 1.0, 2.0}
    memory.add(Samples(torch.arange(9.0)[:, None], torch.arange(9.0)))
    assert set(memory.with_older(rows[0]).targets[3:].tolist()) <= {5.0, 6.0, 7.0, 8.0}


class Twins(nn.Module):
    """Two weights that are always equal between two steps, looked at one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        first = self.first.clone()
        time.sleep(0.001)
        return torch.stack([first, self.second.clone()])


def test_a_prediction_never_sees_weights_from_two_steps():
    model = Twins()
    turn = Turn()
    served = ServedModel(model, torch.device("cpu"), "float32", turn)
    seen: list[list[float]] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            seen.append(served(torch.zeros(1)).tolist())

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for one in threads:
        one.start()
    step = 0
    while len(seen) < 60:
        step += 1
        with turn, torch.no_grad():
            model.first.fill_(step)
            model.second.fill_(step)
            served.publish()
    is_over.set()
    for one in threads:
        one.join()
    assert all(first == second for first, second in seen)
    assert len({first for first, _ in seen}) > 3
    assert len(served._copies) <= 5


def test_a_model_is_copied_when_somebody_first_asks_and_says_what_the_model_says():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    model[1].eval()  # as one that is not to learn
    served = ServedModel(model, torch.device("cpu"), "float32", Turn())
    inputs = torch.ones(3, 2)
    said = served.own(inputs)
    assert [one.training for one in model] == [True, False, True]
    served.publish()
    assert not served._copies
    assert torch.equal(served(inputs), said)
    with torch.no_grad():
        model[0].bias.add_(1.0)
    assert torch.equal(served(inputs), said), "not published yet"
    served.publish()
    assert torch.equal(served(inputs), served.own(inputs))
    assert not torch.equal(served(inputs), said)


def test_a_worker_that_takes_its_turn_again_at_once_lets_others_have_theirs():
    turn, turns, is_over = Turn(), [0], threading.Event()

    def work() -> None:
        while not is_over.is_set():
            with turn, turn:  # and may take it within
                turns[0] += 1
                time.sleep(0.001)

    worker = threading.Thread(target=work)
    worker.start()
    waited = []
    for _ in range(20):
        before = turns[0]
        with turn:
            waited.append(turns[0] - before)
    is_over.set()
    worker.join()
    assert sorted(waited)[10] <= 1, "half of the times it is not left out"


def test_a_new_head_leaves_the_rest():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1), nn.Flatten())
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    head = find_head(model, None)
    assert head is model[2]
    reset_weights(head, optimizer)
    after = model.state_dict()
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert not torch.equal(after["2.weight"], before["2.weight"])
    assert set(optimizer.state) == {model[0].weight, model[0].bias}
    assert find_head(model, "0") is model[0]
    with pytest.raises(UsageError, match="no module 'head'"):
        find_head(model, "head")
    with pytest.raises(UsageError):
        find_head(nn.Sequential(nn.ReLU()), None)


@pytest.mark.parametrize(
    ("criterion", "outputs", "targets"),
    [
        (nn.MSELoss(), torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0], [2.0, 0.0]])),
        (nn.functional.l1_loss, torch.tensor([[1.0], [5.0]]), torch.tensor([[0.0], [2.0]])),
        (nn.CrossEntropyLoss(), torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([1, 1])),
        (QuantileLoss([0.1, 0.9]), torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.5], [2.0]])),
        (lambda given, wanted: (given - wanted).pow(4).mean(), torch.tensor([[1.0], [2.0]]), torch.zeros(2, 1)),
    ],
    ids=["module", "function", "classes", "module without reduction", "function without reduction"],
)
def test_the_loss_of_a_sample_is_the_criterion_of_that_sample_alone(criterion, outputs, targets):
    each = loss_a_sample(criterion)(outputs, targets)
    assert each.tolist() == pytest.approx(
        [criterion(outputs[row : row + 1], targets[row : row + 1]).item() for row in (0, 1)]
    )


def test_a_sum_is_no_mean():
    with pytest.raises(UsageError, match="mean"):
        loss_a_sample(nn.MSELoss(reduction="sum"))


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": 0},
        {"capacity": True},
        {"put_timeout_s": -1.0},
        {"put_timeout_s": float("nan")},
        {"learning_rate": 0.0},
        {"when_full": "drop"},
        {"detector": "ddm"},
        {"reactions": ("panic",)},
        {"replayed": 4, "memory": 2},
        {"snapshot_every": 5},
    ],
    ids=lambda given: next(iter(given)),
)
def test_options_out_of_range_are_refused(given):
    with pytest.raises(UsageError):
        OnlineOptions(**given)
