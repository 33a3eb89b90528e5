"""From a configuration to tasks and options: which task is the target of the data, and where the others come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from agentnn.errors import ConfigError, UsageError
from agentnn.nn_models.multi_task.options import MultiTaskOptions
from agentnn.nn_models.multi_task.targets import TargetSource
from agentnn.nn_models.multi_task.tasks import NumberLoss, Task
from agentnn.training.loop.options import TrainingOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.config.schema import Config
    from agentnn.config.trainers import MultiTaskSection, TaskSection

_KINDS_BY_LOSS = {"bce": ("direction",), "cross_entropy": ("classes",), "quantile": ("quantiles",)}
_DAYS = {"volatility": 5}


def options_of(config: Config, loss: str) -> MultiTaskOptions:
    """How several tasks are learnt, as a configuration says.

    Args:
        config: With its section ``multi_task``.
        loss: Of the main task: ``training.loss``, or what suits the data's target.

    Raises:
        ConfigError: No task is the target of the data, or the main one does not fit it.
    """
    section, model, training = _section(config), config.model, config.training
    main = _main(section, loss)
    tasks = tuple(_task(name, one, config, loss, is_main=name == main) for name, one in section.tasks.items())
    try:
        return MultiTaskOptions(
            tasks=tasks,
            main=main,
            balance=section.balance,
            alpha=section.alpha,
            balance_learning_rate=section.balance_learning_rate,
            fusion=section.fusion,
            head_layers=tuple(section.head_layers),
            family=model.family,
            hidden_layers=tuple(model.hidden_layers),
            activation=model.activation,
            dropout=model.dropout,
            n_heads=model.n_heads,
            kernel_size=model.kernel_size,
            bidirectional=model.bidirectional,
            standardise=config.data.standardise,
            epochs=training.epochs,
            optimizer=training.optimizer,
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
            training=TrainingOptions.from_section(training),
            log_model=config.tracking.log_model,
        )
    except ConfigError:
        raise
    except UsageError as error:
        raise ConfigError(f"multi_task: {error.message}", hint=error.hint) from error


def source_of(config: Config, options: MultiTaskOptions) -> TargetSource:
    """Where the labels of the options' tasks come from."""
    main = options.main_task.name
    others = {name: task for name, task in _section(config).tasks.items() if name != main}
    horizons = {name: task.horizon or _DAYS.get(task.kind or name, 1) for name, task in others.items()}
    return TargetSource(options.tasks, main, horizons)


def _section(config: Config) -> MultiTaskSection:
    assert config.multi_task is not None
    return config.multi_task


def _main(section: MultiTaskSection, loss: str) -> str:
    """The name of the task that is the data's target."""
    kinds = _KINDS_BY_LOSS.get(loss, ("return", "volatility") if loss in get_args(NumberLoss) else ())
    if not kinds:
        known = ", ".join((*_KINDS_BY_LOSS, *get_args(NumberLoss)))
        raise ConfigError(f"training.loss: {loss} is none that several tasks are learnt by", hint=f"one of {known}")
    fitting = [name for name, task in section.tasks.items() if (task.kind or name) in kinds]
    if section.main is None and fitting:
        return fitting[0]
    if section.main in fitting and section.main is not None:
        return section.main
    wanted = " or a ".join(kinds)
    which = "none of multi_task.tasks is one" if section.main is None else f"multi_task.main is {section.main}"
    raise ConfigError(
        f"the target of the data is a {wanted}, since the loss is {loss}, and {which}",
        hint="another training.loss or data.target, or name the task: multi_task.main",
    )


def _task(name: str, task: TaskSection, config: Config, loss: str, *, is_main: bool) -> Task:
    kind = task.kind or name
    given: dict[str, Any] = {"name": name, "kind": kind, "weight": task.weight}
    if task.loss is not None:
        given["loss"] = task.loss
    if task.classes is not None:
        given["classes"] = task.classes
    if task.quantiles is not None:
        given["quantiles"] = tuple(task.quantiles)
    return Task(**{**given, **(_as_target(name, task, kind, config, loss) if is_main else {})})


def _as_target(name: str, task: TaskSection, kind: str, config: Config, loss: str) -> dict[str, Any]:
    """What the sections ``data``, ``model`` and ``training`` say of the main task, which it must not say otherwise."""
    data, output_dim = config.data, config.model.output_dim
    params: Mapping[str, Any] = config.training.params.get("loss_params", {})
    if set(params) - ({"quantiles"} if kind == "quantiles" else set()):
        raise ConfigError(
            f"training.params.loss_params: several tasks are not learnt by {', '.join(params)}", hint="leave it out"
        )
    said: dict[str, Any] = {}
    if kind in ("return", "volatility"):
        said["loss"] = loss
    elif kind == "classes":
        said["classes"] = output_dim
    elif kind == "quantiles":
        equal = [(one + 1) / (output_dim + 1) for one in range(output_dim)]
        said["quantiles"] = list(params.get("quantiles", equal))
    for key, value in {**said, "horizon": data.horizon}.items():
        if task[key] not in (None, value):
            place = {"horizon": "data.horizon", "loss": "training.loss", "classes": "model.output_dim"}
            raise ConfigError(
                f"multi_task.tasks.{name}.{key} is {task[key]}, and the task is the target of the data, of which "
                f"{place.get(key, 'training.params.loss_params')} says {value}",
                hint=f"leave multi_task.tasks.{name}.{key} out",
            )
    return said
