"""The figures of what was captured: what is drawn, that each can be drawn, and that nothing stays in the process."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from agentnn.tracking.capture.data_characteristics import describe_data
from agentnn.tracking.capture.importance import FeatureImportance, Importance
from agentnn.tracking.capture.predictions import compare_predictions
from agentnn.tracking.capture.training_history import read_history
from agentnn.tracking.figures.distributions import feature_distributions
from agentnn.tracking.figures.importance import importance_bars
from agentnn.tracking.figures.predictions import predicted_against_actual
from agentnn.tracking.figures.training import training_curves

RNG = np.random.default_rng(3)


def picture(figure: Any) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def test_training_and_validation_lie_over_each_other_with_the_lowest_point_marked():
    figure = training_curves(read_history({"train_loss": [3, 2, 1], "val_loss": [4, 2, 3], "val_auc": [0.5, 0.6, 0.7]}))
    losses, auc = figure.axes
    assert [line.get_label() for line in losses.lines] == ["train_loss", "val_loss", "lowest: 2 in epoch 2"]
    assert list(losses.lines[1].get_xdata()) == [1, 2, 3]
    assert list(losses.lines[1].get_ydata()) == [4, 2, 3]
    assert (losses.get_ylabel(), auc.get_ylabel(), auc.get_xlabel()) == ("loss", "val_auc", "epoch")
    assert (losses.get_yscale(), auc.get_legend()) == ("linear", None)
    picture(figure)


def test_a_loss_that_falls_far_is_drawn_on_a_logarithmic_scale_and_gaps_are_left_out():
    [axes] = training_curves(read_history({"loss": [100, None, 0.01, float("nan")]})).axes
    assert axes.get_yscale() == "log"
    assert list(axes.lines[0].get_xdata()) == [1, 3]


def test_predictions_and_their_residuals():
    figure = predicted_against_actual(compare_predictions([1.0, 2.0, 3.0], [1.5, 2.0, 2.0]))
    against, over, spread = figure.axes
    assert against.collections[0].get_offsets().tolist() == [[1.0, 1.5], [2.0, 2.0], [3.0, 2.0]]
    assert over.collections[0].get_offsets().tolist() == [[1.5, -0.5], [2.0, 0.0], [2.0, 1.0]]
    assert sum(spread.patches[0].get_data().values) == 3
    assert "3 samples" in figure.get_suptitle()
    picture(figure)


def test_residuals_that_are_all_the_same_can_be_seen():
    spread = predicted_against_actual(compare_predictions([1.0, 2.0], [1.5, 2.5])).axes[2]
    counts, edges, _ = spread.patches[0].get_data()
    assert list(counts) == [2]
    assert edges[0] < -0.5 < edges[1]


def test_the_most_important_features_are_on_top():
    features = tuple(Importance(f"feature {number}", 40.0 - number, 0.5) for number in range(40))
    figure = importance_bars(FeatureImportance("permutation", "neg_mean_squared_error", -1.0, features, 100, 5))
    [axes] = figure.axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert (names[-1], names[0], len(names)) == ("feature 0", "feature 29", 30)
    assert axes.patches[-1].get_width() == 40
    assert axes.get_xlabel() == "rise of the mean squared error when the feature is shuffled"
    assert axes.get_title(loc="left") == "10 less important features are not shown"
    picture(figure)


def test_the_features_that_have_moved_farthest_come_first():
    ours = RNG.normal(size=(100, 3)) + [0, 0, 5]
    figure = feature_distributions(describe_data(ours, ours[:, 0] > 0, reference=RNG.normal(size=(100, 3))))
    assert figure is not None
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == "target"
    assert titles[1].startswith("2   KS 0.9")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["reference", "this data"]
    picture(figure)


@pytest.mark.parametrize(
    "data",
    [
        np.full((5, 2), 3.0),
        np.array([["a", "b"], ["c", "d"]]),
        np.array([[np.inf, 1.0], [np.nan, 1e300]]),
        RNG.normal(size=(5, 60)),
        {"$x^2$ and $": np.arange(5.0), "a" * 300: np.arange(5.0), "<b>\n": np.arange(5.0)},
    ],
    ids=["constant", "text", "odd", "wide", "odd names"],
)
def test_odd_data_can_be_drawn(data: Any):
    figure = feature_distributions(describe_data(data))
    assert figure is not None
    assert len(figure.axes) <= 20
    assert picture(figure)


def test_without_a_value_there_is_no_figure():
    assert feature_distributions(describe_data(np.full((5, 2), np.nan))) is None


def test_figures_leave_no_state_of_pyplot_behind():
    code = (
        "import sys\n"
        "from agentnn.tracking.capture.training_history import read_history\n"
        "from agentnn.tracking.figures.training import training_curves\n"
        "training_curves(read_history({'loss': [1, 2]})).savefig('/dev/null', format='png')\n"
        "print('matplotlib.pyplot' in sys.modules, 'mlflow' in sys.modules, 'torch' in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert ran.stdout.split() == ["False"] * 3
