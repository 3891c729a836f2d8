"""Holds one run as the page shows it: settings, curves, scores, predictions, and notes on whatever is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mets3d.config import Config
from mets3d.evaluation.tables import Row
from mets3d.regions import Region, Target, scored_regions
from mets3d.reporting.run_state import State
from mets3d.rundir import RunDir
from mets3d.statistics.pooled_runs import RunKey
from mets3d.statistics.score_table import CaseValues, patients_in, values_of


@dataclass(frozen=True)
class Note:
    """Something a reader has to know, and the command that would change it, if there is one.

    weighty: it bears on what the numbers mean, and is no mere piece that is missing.
    """

    text: str
    command: str = ""
    weighty: bool = False


@dataclass
class RunRecord:
    """The content of one run directory. Whatever is missing is empty here and has a note.

    `scores`, `lesions` and `froc` are the rows of the tables of these names; cells without a finite number are absent.
    Rows of `scores` and `froc` say whose case it is, as far as the table or the run's record of its split does.

    state: what has become of the training, by `run_state.state_of`.
    predicted: the note of the folder of predictions: how they were made.
    absent: regions that the page leaves out, for no run on it has anything of them.
    runs: of an arm, whose tables are pooled (`arms.as_arms`), the runs by seed and fold; all else is that of the one
    which is pictured. Empty for a single run.
    """

    run: RunDir
    config: Config
    label: str
    imported_from: str = ""  # file of the original weights, where the run is an import
    state: State = "ended"
    environment: dict[str, Any] = field(default_factory=dict)
    split: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)
    training: list[Row] = field(default_factory=list)
    validation: list[Row] = field(default_factory=list)
    scores: list[Row] = field(default_factory=list)
    lesions: list[Row] = field(default_factory=list)
    froc: list[Row] = field(default_factory=list)
    predictions: dict[str, Path] = field(default_factory=dict)
    predicted: dict[str, Any] = field(default_factory=dict)
    data: Path | None = None
    notes: list[Note] = field(default_factory=list)
    absent: frozenset[str] = frozenset()
    runs: Mapping[RunKey, RunRecord] = field(default_factory=dict)

    @property
    def key(self) -> RunKey:
        """Seed and fold of the run."""
        return self.config.seed, self.config.data.fold

    @property
    def members(self) -> Mapping[RunKey, RunRecord]:
        """The runs of an arm by seed and fold; a single run is its own."""
        return self.runs or {self.key: self}

    @property
    def regions(self) -> tuple[Region, ...]:
        """Regions with scores that are not absent, outermost first; all where every one is."""
        return tuple(region for region in self.all_regions if region.name not in self.absent) or self.all_regions

    @property
    def all_regions(self) -> tuple[Region, ...]:
        """Regions with scores, outermost first; without scores, those of the run's target."""
        scored = {row["region"] for row in self.scores}
        known = tuple(region for region in scored_regions(cavity=True) if region.name in scored)
        return known or Target(self.config.data.target, self.config.data.cavity).regions

    @property
    def rules(self) -> str:
        """The rule set of the scores, which is one; empty without scores."""
        return next((row["rules"] for row in self.scores), "")

    @property
    def cases(self) -> list[str]:
        """Scored cases by name."""
        return sorted({row["case"] for row in self.scores})

    @property
    def patients(self) -> dict[str, str]:
        """Case -> patient of every scored case."""
        return patients_in(self.scores)

    @property
    def trained_on(self) -> set[str]:
        """Scored cases that the network has seen in training; none of an arm, whose runs keep what they held out."""
        return set() if self.runs else set(self.cases) & set(self.split.get("training", ()))

    @property
    def held_out(self) -> list[str]:
        """Scored cases that training has not seen; all scored cases where there are no others."""
        cases, trained_on = self.cases, self.trained_on
        return [case for case in cases if case not in trained_on] or cases

    def score_rows(self, region: str | None = None, cases: Sequence[str] | None = None) -> list[Row]:
        """Returns the rows of scores.csv of a region (None: all) in `cases` (None: held out)."""
        return self._chosen(self.scores, region, cases)

    def lesion_rows(self, region: str | None = None, cases: Sequence[str] | None = None) -> list[Row]:
        """Returns the rows of lesions.csv of a region (None: all) in `cases` (None: held out)."""
        return self._chosen(self.lesions, region, cases)

    def froc_rows(self, region: str, cases: Sequence[str]) -> list[Row]:
        """Returns the rows of froc.csv of a region in `cases`."""
        return self._chosen(self.froc, region, cases)

    def values(self, region: str, column: str, cases: Sequence[str] | None = None) -> CaseValues:
        """Returns case -> value of a column of scores.csv for a region, over those of `cases` that have one."""
        return values_of(self.score_rows(region, cases), column)

    def _chosen(self, rows: Iterable[Row], region: str | None, cases: Sequence[str] | None) -> list[Row]:
        wanted = set(self.held_out if cases is None else cases)
        return [row for row in rows if row["case"] in wanted and region in (None, row["region"])]
