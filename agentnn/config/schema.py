"""The typed schema of a configuration.

Every section and nearly every key may be left out. Names of optimizers are those of ``torch.optim``, names of
activations those of ``torch.nn.functional``; either may be written in any case. The ``params`` mappings are the user's
own.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, PrivateAttr, Tag, model_validator

from agentnn.config.schema_types import Choice, IsoDate, Number, Scalar, Section, Spelled, Values, wrong
from agentnn.config.trainers import (
    TRAINERS,
    AdvancedSection,
    DistributedSection,
    DynamicArchitectureSection,
    MultiTaskSection,
    OnlineSection,
    Trainer,
)

Family = Annotated[str, Choice("mlp", "lstm", "gru", "tcn", "transformer")]
Activation = Annotated[
    str, Choice("relu", "gelu", "silu", "tanh", "sigmoid", "elu", "selu", "leaky_relu", "mish", "softplus")
]
Optimizer = Annotated[
    str,
    Choice("AdamW", "Adam", "SGD", "RMSprop", "NAdam", "RAdam", "Adagrad", "Adamax", "Adadelta", "ASGD", "LBFGS"),
]
Loss = Annotated[
    str,
    Choice("mse", "mae", "huber", "smooth_l1", "log_cosh", "barron", "bce", "gce", "cross_entropy", "quantile"),
]
Scheduler = Annotated[
    str, Choice("constant", "step", "multistep", "exponential", "cosine", "warmup_cosine", "plateau", "onecycle")
]
Sampler = Annotated[str, Choice("tpe", "cmaes", "random", "grid", "qmc")]
Pruner = Annotated[str, Choice("none", "median", "percentile", "halving", "hyperband", "patient", "threshold")]
Device = Annotated[str, Spelled("auto|cpu|mps|(?:cuda|xpu)(?::[0-9]+)?", "auto, cpu, mps, cuda or cuda:1")]
Mode = Literal["min", "max"]

_ONE_WIDTH = ("lstm", "gru", "transformer")
_SUM_TOLERANCE = 1e-9


class ExperimentSection(Section):
    """What the run belongs to, and what it is called."""

    name: str | None = Field(
        default=None, min_length=1, description="The experiment; the trainer's or that of the environment otherwise."
    )
    run_name: str | None = Field(default=None, min_length=1, description="The run's name, or a pattern of it.")
    description: str | None = Field(default=None, description="What this is about, for people.")
    type: str | None = Field(default=None, description="The experiment's type, a tag.")
    stage: str | None = Field(default=None, description="development, production, …: a tag.")
    version: Scalar | None = Field(default=None, description="The version of the model or the study, a tag.")
    tags: dict[str, Scalar] = Field(default_factory=Values, description="Tags of the run.")

    @model_validator(mode="after")
    def _readable_tags(self) -> Self:
        object.__setattr__(self, "tags", Values(self.tags))
        return self


class ModelSection(Section):
    """What is trained."""

    family: Family = Field(default="mlp", description="The kind of network.")
    input_dim: int | None = Field(
        default=None, ge=1, description="Features of a sample; as the data has them otherwise."
    )
    output_dim: int = Field(default=1, ge=1, description="Values that the network gives.")
    hidden_layers: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=lambda: [32, 32], min_length=1, description="The width of each hidden layer."
    )
    activation: Activation = Field(default="relu", description="Between the layers.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of hidden units that is dropped while training.")
    n_heads: int = Field(default=4, ge=1, description="Attention heads of a transformer.")
    kernel_size: int = Field(default=3, ge=2, description="Of the convolutions of a tcn.")
    bidirectional: bool = Field(default=False, description="Whether an lstm or a gru also reads the window backwards.")
    params: Values = Field(default_factory=Values, description="Anything else that the network needs.")

    @model_validator(mode="after")
    def _widths_fit_the_family(self) -> Self:
        widths = self.hidden_layers
        if self.family in _ONE_WIDTH and len(set(widths)) > 1:
            same = [widths[0]] * len(widths)
            raise wrong("hidden_layers", f"expected one width for all layers of the {self.family}, such as {same}")
        if self.family == "transformer" and widths[0] % self.n_heads:
            raise wrong("hidden_layers", f"expected a width that {self.n_heads} heads can share, not {widths[0]}")
        return self


class TrainingSection(Section):
    """How it is trained."""

    epochs: int = Field(default=100, ge=1, description="Passes over the training part, at most.")
    batch_size: int = Field(default=64, ge=1, description="Samples a step.")
    learning_rate: float = Field(
        default=1e-3, gt=0, description="Of the optimizer; model.learning_rate means the same."
    )
    optimizer: Optimizer = Field(default="AdamW", description="A class of torch.optim.")
    weight_decay: float | None = Field(default=None, ge=0, description="Of the optimizer; its own default otherwise.")
    momentum: float | None = Field(
        default=None, ge=0, description="Of SGD and RMSprop; the optimizer's own default otherwise."
    )
    optimizer_params: Values = Field(default_factory=Values, description="Other arguments of the optimizer.")
    loss: Loss | None = Field(default=None, description="What is minimised; what suits the task otherwise.")
    scheduler: Scheduler = Field(default="constant", description="How the learning rate changes.")
    scheduler_params: Values = Field(default_factory=Values, description="Arguments of the scheduler.")
    warmup_steps: int = Field(default=0, ge=0, description="Steps in which the learning rate rises from 0.")
    clip_norm: float | None = Field(default=None, gt=0, description="The greatest norm of the gradients.")
    accumulate_steps: int = Field(default=1, ge=1, description="Batches whose gradients are added up for a step.")
    patience: int | None = Field(default=None, ge=1, description="Stop after so many epochs without a better value.")
    min_delta: float = Field(default=0.0, ge=0, description="What counts as better.")
    monitor: str = Field(
        default="val_loss", min_length=1, description="The metric that patience and checkpoints look at."
    )
    monitor_mode: Mode = Field(default="min", description="Whether its smallest or greatest value is best.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of the weights, the order of samples and dropout.")
    deterministic: bool = Field(default=True, description="The same seed gives the same weights.")
    device: Device = Field(default="auto", description="Where it is trained; auto takes the fastest there is.")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Mixed precision, unless float32."
    )
    num_threads: int | None = Field(default=None, ge=1, description="Threads of torch on the CPU.")
    shuffle: bool = Field(default=True, description="Whether the training samples are shuffled each epoch.")
    checkpoints: bool = Field(default=True, description="Keep the best and the last state of the run.")
    checkpoint_dir: str | None = Field(default=None, min_length=1, description="Where they are kept.")
    checkpoint_every_s: float | None = Field(
        default=None, ge=0, description="Seconds between two of them, 0 for every epoch; so seldom that it is not felt."
    )
    progress: bool = Field(default=True, description="Show a bar on a terminal.")
    params: Values = Field(default_factory=Values, description="Anything else that the training needs.")


class SplitSection(Section):
    """Shares of the samples, in the order of time."""

    train: float = Field(default=0.6, gt=0, lt=1, description="The first part, which is learned from.")
    validation: float = Field(default=0.2, gt=0, lt=1, description="The second part, which stops and chooses.")
    test: float = Field(default=0.2, gt=0, lt=1, description="The last part, which nothing sees before the end.")

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > _SUM_TOLERANCE:
            raise wrong("", f"expected train, validation and test to add up to 1, not {total:.10g}")
        return self


class DataSection(Section):
    """What it is trained on."""

    path: str | None = Field(
        default=None, min_length=1, description="A CSV or Parquet file; a built-in series otherwise."
    )
    format: Literal["csv", "parquet"] | None = Field(default=None, description="As the file's name says, otherwise.")
    series: Literal["goog"] = Field(default="goog", description="The built-in series, where there is no path.")
    name: str | None = Field(default=None, min_length=1, description="What the data set is called in the run.")
    version: Scalar | None = Field(default=None, description="The data set's version.")
    date_column: str | None = Field(default=None, min_length=1, description="The column that orders the rows.")
    target: str | None = Field(
        default=None, min_length=1, description="The column to predict; the next return otherwise."
    )
    features: list[Annotated[str, Field(min_length=1)]] | None = Field(
        default=None, min_length=1, description="The columns to learn from; those of the built-in features otherwise."
    )
    columns: dict[str, str] = Field(
        default_factory=Values, description="open, high, low, close, volume: their columns."
    )
    start: IsoDate | None = Field(default=None, description="The first day.")
    end: IsoDate | None = Field(default=None, description="The last day.")
    window: int = Field(default=10, ge=1, description="Days of features that a sample holds.")
    horizon: int = Field(
        default=1, ge=0, description="Days ahead that the target lies; 0, in the same row, where a column is predicted."
    )
    split: SplitSection = Field(default_factory=SplitSection, description="Shares of train, validation and test.")
    embargo: int | None = Field(
        default=None, ge=0, description="Days left out between the parts; as the window needs, otherwise."
    )
    standardise: bool = Field(default=True, description="By the mean and deviation of the training part.")
    params: Values = Field(default_factory=Values, description="Anything else that reading the data needs.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        object.__setattr__(self, "columns", Values(self.columns))
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise wrong("end", f"expected a day after start, which is {self.start}")
        if self.features is not None and len(set(self.features)) < len(self.features):
            raise wrong("features", "expected each column once")
        if self.horizon == 0 and self.target is None:
            raise wrong("horizon", "expected 1 or more, since a return is predicted")
        return self


class BacktestSection(Section):
    """How the predictions are traded, on days that training never saw."""

    enabled: bool = Field(default=True, description="Whether there is a backtest.")
    position_rule: Annotated[str, Choice("long_flat", "long_short", "proportional")] = Field(
        default="long_flat", description="How a prediction becomes a position."
    )
    threshold: float = Field(default=0.5, ge=0, le=1, description="The probability from which on a position is taken.")
    cost_per_turnover: float = Field(
        default=0.0005, ge=0, lt=1, description="What trading the whole capital once costs."
    )
    initial_capital: float = Field(default=1.0, gt=0, description="What the equity curve begins with.")
    periods_per_year: float = Field(default=252.0, gt=0, description="Trading days a year.")
    risk_free_rate: float = Field(default=0.0, gt=-1, lt=1, description="A year's return without risk, as a fraction.")
    params: Values = Field(default_factory=Values, description="Anything else that the backtest needs.")


class TrackingSection(Section):
    """What is recorded, and where."""

    uri: str | None = Field(
        default=None, min_length=1, description="Where runs are kept; as the environment says otherwise."
    )
    log_every: int = Field(default=1, ge=1, description="Log every so many epochs.")
    log_model: bool = Field(default=True, description="Log the trained network.")
    log_environment: bool = Field(default=True, description="Log commit, packages and hardware.")
    register_as: str | None = Field(default=None, min_length=1, description="Register the network under this name.")
    strict: bool = Field(default=False, description="Fail at the end when the store could not take everything.")
    params: Values = Field(default_factory=Values, description="Anything else that recording needs.")


class SearchRange(Section):
    """What a hyperparameter may be: a range, or choices that depend on another one."""

    low: Number | None = Field(default=None, description="The smallest value.")
    high: Number | None = Field(default=None, description="The greatest value, which is included.")
    type: Literal["float", "int"] | None = Field(
        default=None, description="int where both ends are whole numbers, otherwise float."
    )
    log: bool = Field(default=False, description="Search its logarithm.")
    step: Number | None = Field(default=None, gt=0, description="Only every so many.")
    choices: list[Any] | None = Field(default=None, min_length=1, description="The values, where there is no range.")
    when: dict[str, Any] | None = Field(
        default=None, min_length=1, description="Only in trials where other ones have this value, or one of these."
    )

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> Self:
        low, high = self.low, self.high
        if self.choices is not None:
            if low is not None or high is not None or self.log or self.step is not None or self.type is not None:
                raise wrong("", "expected either choices or a range with low and high")
            return self
        if low is None or high is None:
            raise wrong("", "expected low and high, or choices")
        if low >= high:
            raise wrong("high", f"expected a number greater than low, which is {low}")
        if self.log and low <= 0:
            raise wrong("low", "expected a number greater than 0, since log is true")
        if self.log and self.step is not None:
            raise wrong("step", "expected no step, since log is true")
        if self.type == "int" and not all(isinstance(one, int) for one in (low, high, self.step or 1)):
            raise wrong("type", "expected float, since low, high or step is not a whole number")
        return self


class Objective(Section):
    """One of several metrics that a study looks at."""

    metric: str = Field(min_length=1, description="The metric.")
    mode: Mode = Field(default="min", description="Whether the smallest or the greatest value is best.")


def _kind_of_search(value: Any) -> str:
    return CHOICES if isinstance(value, list) else RANGE


CHOICES, RANGE = "~choices", "~range"
"""Parts of the places of errors that stand for no key."""

SearchSpace = Annotated[
    Annotated[list[Any], Field(min_length=1), Tag(CHOICES)] | Annotated[SearchRange, Tag(RANGE)],
    Discriminator(_kind_of_search),
]


class HpoSection(Section):
    """A search for hyperparameters."""

    param_space: dict[str, SearchSpace] = Field(
        min_length=1, description="What is searched: a list of values, or a range, by key."
    )
    num_trials: int = Field(default=20, ge=1, description="How many trials.")
    timeout_s: float | None = Field(default=None, gt=0, description="Begin no further trial after so many seconds.")
    metric: str = Field(default="val_loss", min_length=1, description="What a trial is judged by.")
    mode: Mode = Field(default="min", description="Whether its smallest or greatest value is best.")
    objectives: list[Objective] = Field(
        default_factory=list, description="Several metrics, in the place of metric and mode."
    )
    sampler: Sampler = Field(default="tpe", description="How values are chosen.")
    sampler_params: Values = Field(default_factory=Values, description="Arguments of the sampler.")
    pruner: Pruner = Field(default="none", description="How hopeless trials are ended early.")
    pruner_params: Values = Field(default_factory=Values, description="Arguments of the pruner.")
    seed: int | None = Field(default=None, ge=0, lt=2**32, description="Of the sampler; training.seed otherwise.")
    workers: int = Field(default=1, ge=1, description="Processes that run trials.")
    engine: Literal["local", "ray"] = Field(default="local", description="Where they run.")
    address: str | None = Field(default=None, min_length=1, description="Of the Ray cluster.")
    storage: str | None = Field(
        default=None, min_length=1, description="Where the study is kept; a journal file otherwise."
    )
    study_name: str | None = Field(
        default=None, min_length=1, description="The study's name; the experiment's otherwise."
    )
    retries: int = Field(default=1, ge=0, description="How often a trial is tried again whose worker died.")


class Config(Section):
    """A whole configuration; ``hpo`` is ``None``, and not among the keys, where there is no search.

    Likewise ``trainer`` and the sections of trainers: only the chosen one's is there, and always.
    """

    trainer: Trainer | None = Field(default=None, description="What trains; the plain loop otherwise.")
    experiment: ExperimentSection = Field(default_factory=ExperimentSection)
    model: ModelSection = Field(default_factory=ModelSection)
    data: DataSection = Field(default_factory=DataSection)
    training: TrainingSection = Field(default_factory=TrainingSection)
    backtest: BacktestSection = Field(default_factory=BacktestSection)
    tracking: TrackingSection = Field(default_factory=TrackingSection)
    advanced: AdvancedSection | None = Field(default=None)
    dynamic_architecture: DynamicArchitectureSection | None = Field(default=None)
    multi_task: MultiTaskSection | None = Field(default=None)
    distributed: DistributedSection | None = Field(default=None)
    online: OnlineSection | None = Field(default=None)
    hpo: HpoSection | None = Field(default=None)

    _record: Any = PrivateAttr(None)

    @model_validator(mode="after")
    def _as_the_trainer_needs(self) -> Self:
        """The trainer's own section, and its experiment where none is named."""
        if self.trainer is None:
            return self
        known = TRAINERS[self.trainer]
        if getattr(self, self.trainer) is None:
            object.__setattr__(self, self.trainer, known.section())
        if self.experiment.name is None:
            object.__setattr__(self, "experiment", self.experiment.model_copy(update={"name": known.experiment}))
        self[self.trainer].check_beside(self)
        return self

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, Config) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) and getattr(self, str(key)) is not None

    def __iter__(self) -> Any:
        return (key for key in type(self).model_fields if getattr(self, key) is not None)


VALUES = ("trainer",)
"""Keys outside of all sections."""

SECTIONS = tuple(name for name in Config.model_fields if name not in VALUES)
ALIASES: dict[tuple[str, ...], tuple[str, ...]] = {("model", "learning_rate"): ("training", "learning_rate")}
"""Keys that mean another key. A configuration holds the value under the second one only."""
