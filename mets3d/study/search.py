"""Chooses the values of the next run, and the runs that are not worth going on with, by Optuna (`mets3d[sweep]`).

Bayes is its tree-structured Parzen estimator over the quantiles of each parameter's distribution: what it proposes for
a run follows from that run's number and the runs before, so a sweep that was killed goes on as it began. What W&B calls
hyperband is successive halving with one bracket: after `min_iter` values of the metric, and `eta` times as many, and so
on, a run goes on that is among the best 1/eta of those that have come so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mets3d.files import Kind, read_object, write_json
from mets3d.rundir import RunDir
from mets3d.study.combinations import Values
from mets3d.study.folder import StudyDir
from mets3d.study.parameters import Parameter
from mets3d.study.sweep_file import Metric, Sweep

RANDOM_FIRST = 5  # runs of a bayes sweep that are drawn before the estimator has anything to go by


@dataclass(frozen=True)
class Trial:
    """A run of a bayes sweep: its place in the unit cube, of a choice its number, and the values these are."""

    name: str
    shares: dict[str, float]
    values: Values


class Bayes:
    """The runs of a bayes sweep as they are proposed one after the other; trials.json keeps them."""

    def __init__(self, sweep: Sweep, study: StudyDir):
        if sweep.metric is None:
            raise ValueError("a bayes sweep needs a metric")
        self._optuna = _optuna("method bayes")
        self._study, self._metric = study, sweep.metric
        self._parameters = [parameter for parameter in sweep.parameters if parameter.kind != "constant"]
        self._constants = {parameter.key: parameter.at(0.5) for parameter in sweep.parameters}
        self.trials = _read_trials(study, {parameter.key for parameter in sweep.parameters})

    def propose(self) -> tuple[int, dict[str, float], Values]:
        """Returns number, place and values of the next run."""
        number = len(self.trials)
        sampler = self._optuna.samplers.TPESampler(seed=number, n_startup_trials=RANDOM_FIRST, constant_liar=True)
        search = self._optuna.create_study(direction=_direction(self._metric), sampler=sampler)
        for trial in self.trials:
            search.add_trial(self._as_optuna_has_it(trial))
        shares: dict[str, float] = search.ask(self._distributions()).params
        found = {parameter.key: _value(parameter, shares[parameter.key]) for parameter in self._parameters}
        return number, shares, self._constants | found

    def add(self, trial: Trial) -> None:
        """Keeps a trial, whose run is about to begin."""
        self.trials.append(trial)
        write_json(self._study.trials, {"trials": [asdict(trial) for trial in self.trials]})

    def _distributions(self) -> dict[str, Any]:
        of = self._optuna.distributions
        return {
            parameter.key: of.FloatDistribution(0.0, 1.0)
            if parameter.choices is None
            else of.CategoricalDistribution(range(parameter.choices))
            for parameter in self._parameters
        }

    def _as_optuna_has_it(self, trial: Trial) -> Any:
        states = self._optuna.trial.TrialState
        state = self._study.state(trial.name)
        history = history_of(self._study.run(trial.name), self._metric)
        value = best_of(history, self._metric)
        kind = {"finished": states.COMPLETE, "failed": states.FAIL, "stopped": states.PRUNED}.get(
            state.state, states.RUNNING
        )
        if kind is states.COMPLETE and value is None:
            kind = states.FAIL
        return self._optuna.trial.create_trial(
            state=kind,
            params=trial.shares,
            distributions=self._distributions(),
            value=value if kind is states.COMPLETE else None,
            intermediate_values=dict(enumerate(history, 1)),
        )


class Halving:
    """Tells which runs are not worth going on with. Runs are to be shown in one order, as those of a grid have."""

    def __init__(self, sweep: Sweep, study: StudyDir, names: Sequence[str] = ()):
        if sweep.metric is None or sweep.early is None:
            raise ValueError("early termination needs a metric")
        optuna = _optuna("early_terminate")
        if sweep.early.eta != int(sweep.early.eta):
            raise ValueError(f"{sweep.file}: early_terminate: eta is {sweep.early.eta}; Optuna takes whole numbers")
        pruner = optuna.pruners.SuccessiveHalvingPruner(
            min_resource=sweep.early.first, reduction_factor=int(sweep.early.eta)
        )
        self._search = optuna.create_study(direction=_direction(sweep.metric), pruner=pruner)
        self._study, self._metric = study, sweep.metric
        self._trials: dict[str, Any] = {}
        self._seen: dict[str, int] = {}
        for name in names:  # of an earlier call: what they reached is what others are held against
            self.hopeless(name)

    def hopeless(self, name: str) -> bool:
        """Returns whether a run should be stopped by the values of its metric so far."""
        trial = self._trials.setdefault(name, None) or self._search.ask()
        self._trials[name] = trial
        history = history_of(self._study.run(name), self._metric)
        stop = False
        for step in range(self._seen.get(name, 0) + 1, len(history) + 1):
            trial.report(history[step - 1], step)
            stop = trial.should_prune() or stop
        self._seen[name] = len(history)
        return stop


def history_of(run: RunDir, metric: Metric) -> list[float]:
    """Returns the values of the metric in a run's log, in the order of their steps."""
    rows = sorted((row for row in run.read_metrics() if row.get("kind") == metric.kind), key=lambda row: row["step"])
    values = (row.get(metric.column) for row in rows)
    return [float(value) for value in values if isinstance(value, (int, float))]


def best_of(history: Sequence[float], metric: Metric) -> float | None:
    """Returns the best value, which a run is ranked by; None without one."""
    if not history:
        return None
    return max(history) if metric.maximise else min(history)


def _optuna(what: str) -> Any:
    """Imports Optuna. Raises ValueError where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise ValueError(f"{what} needs Optuna, which is not installed; pip install 'mets3d[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _direction(metric: Metric) -> str:
    return "maximize" if metric.maximise else "minimize"


def _value(parameter: Parameter, share: float) -> Any:
    """Returns the value at a place in the unit cube, whose ends normal distributions do not have."""
    if parameter.choices is not None:
        return parameter.numbers["values"][int(share)]
    return parameter.at(min(max(share, 1e-9), 1 - 1e-9))


def _read_trials(study: StudyDir, keys: set[str]) -> list[Trial]:
    if not study.trials.exists():
        return []
    rows = read_object(study.trials, {"trials": Kind("a list of trials", _are_trials)})["trials"]
    trials = [Trial(row["name"], row["shares"], row["values"]) for row in rows]
    other = next((trial for trial in trials if set(trial.values) != keys), None)
    if other is not None:
        raise ValueError(
            f"{study.trials} is of a sweep over {', '.join(sorted(other.values))}, this one is over "
            f"{', '.join(sorted(keys))}; use another --out"
        )
    return trials


def _are_trials(value: Any) -> bool:
    return isinstance(value, list) and all(_is_trial(row) for row in value)


def _is_trial(row: Any) -> bool:
    whole = isinstance(row, Mapping) and {"name", "shares", "values"} <= set(row)
    return whole and isinstance(row["values"], dict) and isinstance(row["shares"], dict)
