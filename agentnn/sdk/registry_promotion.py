"""Promotion of model versions with a memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.errors import NotFoundError, UsageError, command
from agentnn.sdk.registry_questions import RegistryQuestions

if TYPE_CHECKING:
    from agentnn.records import ModelVersion, Run
    from agentnn.registry.channels import Channel
    from agentnn.registry.history import HistoryEntry
    from agentnn.registry.judging import Criterion
    from agentnn.registry.ledger import Entry, Ledger
    from agentnn.registry.moving import Evidence, Move
    from agentnn.registry.promotion import Promotion
    from agentnn.stores.mlflow.models import ModelCheck
    from agentnn.stores.registry_changes import RegistryChanges

_SHORTEST_ID = 4
"""Digits that may be the beginning of a run's id, where there is no version of that number."""

_DEPRECATED = "MLflow deprecates stages, and will remove them; an alias does the same: --alias champion"


class RegistryPromotion(RegistryQuestions):
    """The part of :class:`~agentnn.sdk.nn_models.ModelManager` that moves aliases and stages, and remembers it."""

    def promote_model(
        self,
        name: str,
        version: str | int,
        alias: str | None = None,
        *,
        stage: str | None = None,
        if_better: str | None = None,
        than: str | None = None,
        min_delta: float = 0.0,
        reason: str = "",
        verify: bool = True,
        trust: bool = False,
    ) -> Promotion:
        """Move an alias to a version: verify it, move the alias, write the ledger; or change nothing at all.

        Args:
            name: The model.
            version: A version number, ``@alias`` or ``latest``.
            alias: The alias to move.
            stage: A stage to put the version into instead; MLflow deprecates stages.
            if_better: Move it only if the version's run is better by this metric: ``sharpe_ratio``, ``val_loss:min``.
                The direction is what the project declares, or ``max``, where it is not said.
            than: What it must be better than: ``@champion``, a version number, ``models:/NAME@ALIAS`` or a run's
                selector; the version that holds the alias otherwise.
            min_delta: By more than how much it must be better.
            reason: Why, for the ledger.
            verify: Load the version and run it on its own input example first.
            trust: Whether a model may be loaded that runs code which it brings along.

        Returns:
            What was done. Where the alias is there already, nothing is.

        Raises:
            CheckFailed: The version is not better.
            UsageError: The alias is reserved, or the question makes no sense.
            NotFoundError: There is no such version, or one of the two runs or its metric is missing.
            CorruptDataError: The version can't be loaded, or fails on its own input example.
            ConflictError: Somebody else moves the alias at the same time; the message says who.
            UnsafeError: Loading would run code, and ``trust`` is false.
        """
        from agentnn.registry.channels import chosen_channel
        from agentnn.registry.judging import check_min_delta
        from agentnn.registry.ledger import check_reason
        from agentnn.registry.moving import Move
        from agentnn.registry.promotion import Promotion, check_ready

        channel = chosen_channel(alias, stage)
        check_reason(reason)
        if if_better is None and (than is not None or min_delta):
            raise UsageError("--than and --min-delta need --if-better", hint="--if-better sharpe_ratio")
        criterion = None if if_better is None else self._criterion(if_better, check_min_delta(min_delta))
        ledger = self._ledger(name, channel)
        chosen = check_ready(self._version(name, version))
        notes = [_DEPRECATED] if channel.stage is not None else []
        if chosen.version in ledger.holders:
            notes.append(f"version {chosen.version} is {_where(channel)} already; nothing was moved")
            return Promotion(name, channel, chosen.version, chosen.version, moved=False, notes=tuple(notes))
        evidence = None
        if criterion is not None:
            evidence, said = self._judge(criterion, chosen, channel, ledger, than)
            notes += said
        elif not ledger.holders:
            notes.append(f"nobody held {channel} of {name}: this is the first")
        move = Move(name, channel, "promote", chosen.version, ledger, reason, evidence, chosen.run_id)
        return self._moved(move, chosen, notes, verify=verify, trust=trust)

    def rollback_model(
        self, name: str, alias: str, *, reason: str = "", verify: bool = True, trust: bool = False
    ) -> Promotion:
        """Move an alias back to the version that held it before the last promotion; again, to the one before that.

        An alias that was moved outside agentnn goes back to the last version that the ledger knows.

        Args:
            name: The model.
            alias: The alias.
            reason: Why, for the ledger.
            verify, trust: As for :meth:`promote_model`.

        Raises:
            NotFoundError: There was nothing before, or that version was deleted.
            CorruptDataError, ConflictError, UnsafeError: As for :meth:`promote_model`.
        """
        from agentnn.registry.channels import alias_channel
        from agentnn.registry.ledger import check_reason
        from agentnn.registry.moving import Move
        from agentnn.registry.promotion import check_ready, rollback_target

        channel = alias_channel(alias)
        check_reason(reason)
        ledger = self._ledger(name, channel)
        target = check_ready(rollback_target(name, channel, ledger, self._registry.list_model_versions(name)))
        notes = []
        if ledger.moved_outside:
            where = f"to version {ledger.current}" if ledger.current is not None else "away"
            notes.append(f"{channel} was moved {where} outside agentnn; back to what the ledger knows")
        move = Move(name, channel, "rollback", target.version, ledger, reason, run_id=target.run_id)
        return self._moved(move, target, notes, verify=verify, trust=trust)

    def model_history(self, name: str, *, alias: str | None = None, stage: str | None = None) -> list[HistoryEntry]:
        """What has happened to a model's aliases and stages, the newest first.

        Args:
            name: The model.
            alias: Only this alias.
            stage: Only this stage.

        Raises:
            NotFoundError: There is no such model.
        """
        from agentnn.registry.channels import chosen_channel
        from agentnn.registry.history import read_history

        only = None if alias is None and stage is None else chosen_channel(alias, stage)
        return read_history(name, self.get_model(name), lambda wanted: self._stage_holders(name, wanted), only)

    def _moved(self, move: Move, version: ModelVersion, notes: list[str], *, verify: bool, trust: bool) -> Promotion:
        """Verify a version, then move."""
        from agentnn.registry.promotion import Promotion

        if verify and self._verified(version, trust=trust).example_rows is None:
            notes.append("the version loads; it has no input example to be tried on")
        previous = move.seen.current
        entry = self._carry_out(move)
        if move.channel.stage is not None:
            sharing = [one for one in move.seen.holders if one != version.version]
            if sharing and move.channel.stage != "None":
                notes.append(f"in {move.channel.stage} beside it: version {', '.join(map(str, sharing))}")
        return Promotion(move.name, move.channel, version.version, previous, True, entry, verify, tuple(notes))

    def _carry_out(self, move: Move) -> Entry:
        from agentnn.registry.moving import carry_out

        return carry_out(move, self._registry_changes(), lambda wanted: self._stage_holders(move.name, wanted))

    def _registry_changes(self) -> RegistryChanges:
        from agentnn.stores.registry_changes import open_registry_changes

        return open_registry_changes(self.settings)

    def _verified(self, version: ModelVersion, *, trust: bool) -> ModelCheck:
        from agentnn.registry.files import fetched
        from agentnn.stores.mlflow.models import check_model

        with fetched(version.source or "", self.settings) as folder:
            return check_model(f"models:/{version.name}/{version.version}", folder, self.settings, trust=trust)

    def _judge(
        self, criterion: Criterion, chosen: ModelVersion, channel: Channel, ledger: Ledger, than: str | None
    ) -> tuple[Evidence, list[str]]:
        """The evidence for a version, and what is to be said of it."""
        from agentnn.registry.judging import judge, value_of
        from agentnn.registry.moving import Evidence

        new = (f"version {chosen.version}", self._run_of(chosen))
        is_own = than is None or than == f"@{channel.name}"
        if is_own and not ledger.holders:
            value = value_of(new[1], new[0], criterion.metric)
            first = f"nobody held {channel} of {chosen.name}: this is the first, and there was nothing to compare with"
            return Evidence(criterion.metric, criterion.mode, value), [first]
        old = self._baseline(chosen.name, str(ledger.current) if is_own or than is None else than)
        return judge(criterion, new, old), []

    def _baseline(self, name: str, text: str) -> tuple[str, Run]:
        """What a version is compared with: what to call it, and its run."""
        is_run = text == "@last" or text.startswith("@best:")
        could_be_id = len(text) >= _SHORTEST_ID and not any(
            str(one.version) == text for one in self._registry.list_model_versions(name)
        )
        is_version = text == "latest" or (text.isdecimal() and not could_be_id)
        if is_version or (text.startswith("@") and not is_run):
            found = self._version(name, text)
            return f"version {found.version}", self._run_of(found)
        run = self._find_run(text)
        return f"the run {run.name or run.run_id}", run

    def _run_of(self, version: ModelVersion) -> Run:
        found = self._store.find_runs([version.run_id]) if version.run_id else []
        if not found:
            raise NotFoundError(
                f"version {version.version} of {version.name} has no run in this store, and so no metrics",
                hint="promote it without --if-better, or compare with another version by --than",
            )
        return found[0]

    def _criterion(self, text: str, min_delta: float) -> Criterion:
        from agentnn.registry.judging import Criterion, parse_criterion

        metric, mode = parse_criterion(text)
        return Criterion(metric, mode or self.default_mode(metric), min_delta)

    def _version(self, name: str, version: str | int) -> ModelVersion:
        """A version by its number, ``@alias`` or ``latest``."""
        versions = self.list_model_versions(name)
        text = str(version)
        if text == "latest" and versions:
            return versions[0]
        if text.startswith("@"):
            found = next((one for one in versions if text[1:] in one.aliases), None)
        elif text.isdecimal():
            found = next((one for one in versions if one.version == int(text)), None)
        elif text == "latest":
            found = None
        else:
            raise UsageError(f"{text!r} is no version", hint="a number, @alias or latest")
        if found is None:
            what = f"alias {text}" if text.startswith("@") else f"version {text}"
            raise NotFoundError(f"the model {name!r} has no {what}", hint=command("model", "versions", name))
        return found

    def _ledger(self, name: str, channel: Channel) -> Ledger:
        from agentnn.registry.moving import read_channel

        return read_channel(self.get_model(name), channel, lambda wanted: self._stage_holders(name, wanted))

    def _stage_holders(self, name: str, stage: str) -> list[int]:
        return [one.version for one in self._registry.list_model_versions(name) if one.stage == stage]


def _where(channel: Channel) -> str:
    return f"in {channel.stage}" if channel.stage is not None else str(channel)
