"""Holds the outcome of tuning: per region the choice and its scores, as a table, as caveats and as a record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mets3d.inference.decoding_settings import RegionDecoding
from mets3d.tuning.search import GAIN, SearchGrid
from mets3d.tuning.support import Support
from mets3d.wording import agreed, counted

FEW_CASES = 20
SETTING_HEADS = ("threshold", "peak above", "from mm3", "largest only", "fill holes")


# What becomes of a region: in the last three cases it stays at the default.
TUNED, FORCED, UNSUPPORTED, BEST = "tuned", "forced", "not supported", "default is best"
OUTWEIGHED = "mean does not gain"  # it gains on unseen patients, and the others lose as much by it


@dataclass(frozen=True)
class RegionTuning:
    """One region's choice; scores are means over the `cases` that have one.

    crossed: each case scored with settings chosen without its patient; NaN with fewer than two patients.
    """

    region: str
    setting: RegionDecoding
    cases: int
    default: float
    tuned: float
    crossed: float
    support: Support = field(default_factory=Support)
    outcome: str = BEST


@dataclass(frozen=True)
class Tuning:
    """The choice for every region, the cases it was made on, and its gain.

    regions: where a region stays at the default, what was tried. as_written: the scores of the settings in the file.
    run_rules: the rule set of the run, where it is known. outweighed: where the mean over the regions does not gain by
    those that do, all regions by their settings.
    """

    objective: str
    rules: str
    cases: tuple[str, ...]
    folds: int
    regions: tuple[RegionTuning, ...]
    file: Path
    written: bool = True
    as_written: tuple[RegionTuning, ...] = ()
    run_rules: str = ""
    outweighed: tuple[RegionTuning, ...] = ()

    @property
    def forced(self) -> list[str]:
        """The regions whose settings were written although cross-validation does not support them."""
        return [row.region for row in self.regions if row.outcome == FORCED]

    def table(self) -> str:
        """Returns one line per region, outermost first."""
        heads = ("region", "cases", "default", "tuned", "cross-validated", *SETTING_HEADS, "gain (SE)", "outcome")
        lines: list[tuple[str, ...]] = [heads]
        for row in self.regions:
            scores = (f"{x:.3f}" if math.isfinite(x) else "-" for x in (row.default, row.tuned, row.crossed))
            end = _gain(row.support), row.outcome
            lines.append((row.region, str(row.cases), *scores, *_setting_cells(row.setting), *end))
        widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def caveats(self) -> list[str]:
        """Returns what a reader has to know before believing the table."""
        count = counted(len(self.cases), "case")
        verb = agreed(len(self.cases), "is", "are")
        few = f"; {count} {verb} few to choose on" if len(self.cases) < FEW_CASES else ""
        honest = (
            f"the cross-validated one ({self.folds} folds by patient) is not"
            if self.folds
            else "with one patient there is no cross-validated one"
        )
        caveats = [f"the tuned score is that of the {count} it was chosen on, so optimistic; {honest}{few}"]
        for row in self.regions:
            for what, value in (("chosen without the case's patient", row.crossed), ("in the end", row.tuned)):
                if value < row.default - GAIN:
                    caveats.append(
                        f"{row.region}: {what}, settings score {value:.3f}, less than the default's {row.default:.3f}"
                    )
        return [*caveats, *self._of_regions(), *self._of_rules()]

    def _of_regions(self) -> list[str]:
        """Says which regions cross-validation does not support, and what supporting the others costs."""
        unsupported = [row for row in self.regions if row.outcome == UNSUPPORTED and self.folds and self.written]
        said = [
            f"{row.region} stays at the default: {_gain(row.support)}, the gain on unseen patients with its standard "
            "error, does not support tuning it"
            for row in unsupported
        ]
        if any(row.outcome == TUNED for row in self.regions):
            said.append(
                "the cross-validated scores decided which regions are tuned, so they are a little optimistic, too; "
                "other patients say more"
            )
        if self.forced:
            said.append(f"written by --force: cross-validation does not support the settings of {_list(self.forced)}")
        return said

    def _of_rules(self) -> list[str]:
        if self.run_rules in ("", self.rules):
            return []
        known = f"the rule set of the run (validate.rules), by which `mets3d evaluate` scores, is {self.run_rules}"
        return [f"tuned by {self.rules}, and {known}: the settings may lower those scores"]

    def refusal(self, *, former: bool) -> str:
        """Says why nothing was written, and what to do. former: a file of an earlier tuning is there."""
        unsupported = [row for row in self.regions if row.outcome == UNSUPPORTED]
        gaining = [row.region for row in self.regions if row.outcome == OUTWEIGHED]
        if not unsupported and not gaining:
            reasons = ["no setting scores better than the default on these cases"]
        elif not self.folds:
            reasons = ["all cases are of one patient, so that nothing shows how these settings score on another"]
        else:
            reasons = [_in_the_mean(gaining, self.outweighed)] if gaining else []
            if unsupported:
                reasons.append(f"cross-validation does not support {_list([row.region for row in unsupported])}")
            reasons += map(_compared, unsupported)
        stays = "Predictions stay as they are."
        if former:
            stays = "The file of an earlier tuning stays and is used: remove it, or predict with --decoding default."
        force = (
            " --force writes these settings, and whatever reads them then says so." if unsupported or gaining else ""
        )
        return f"{self.file} is not written: {'; '.join(reasons)}. {stays}{force}"

    def record(self, grids: Mapping[str, SearchGrid]) -> dict[str, Any]:
        """Returns, for the decoding's file, how the settings were chosen and what they score."""
        return {
            "objective": self.objective,
            "rules": self.rules,
            **({"forced": self.forced} if self.forced else {}),
            "scores": {
                row.region: {
                    "cases": row.cases,
                    "default": _json(row.default),
                    "tuned": _json(row.tuned),
                    "cross_validated": _json(row.crossed),
                }
                for row in self.as_written or self.regions
            },
            "cross_validation": {
                row.region: {
                    "gain": _json(row.support.gain),
                    "standard_error": _json(row.support.error),
                    "outcome": row.outcome,
                }
                for row in self.regions
            },
            "caveats": self.caveats(),
            "cross_validation_folds": self.folds,
            "cases": list(self.cases),
            "grid": {
                name: {
                    "threshold": _spaced(grid.thresholds),
                    "peak": _spaced(("none", *grid.peaks)),
                    "min_volume_mm3": _spaced(grid.volumes_mm3),
                    "largest_only, fill_holes": "tried" if len(grid.switches) > 1 else "left alone",
                }
                for name, grid in grids.items()
            },
        }


def _compared(row: RegionTuning) -> str:
    return (
        f"{row.region}: chosen without the case's patient, settings score {row.crossed:.3f} where the default has "
        f"{row.default:.3f}, gain and standard error {_gain(row.support)}"
    )


def _in_the_mean(gaining: Sequence[str], rows: Sequence[RegionTuning]) -> str:
    """Says that some regions gain on unseen patients, and what the others lose by it. rows: of all regions."""
    changes = [f"{row.region} by {_gain(row.support)}" for row in rows if math.isfinite(row.support.gain)]
    verb = agreed(len(gaining), "gains", "gain")
    return (
        f"{_list(gaining)} {verb} on unseen patients and the mean over all regions does not ({mean_gain(rows):+.3f}): "
        f"with these settings the scores change, with standard error, {', '.join(changes)}"
    )


def mean_gain(rows: Iterable[RegionTuning]) -> float:
    """Returns the mean over the regions of their gains on unseen patients; NaN where none has one."""
    gains = [row.support.gain for row in rows if math.isfinite(row.support.gain)]
    return sum(gains) / len(gains) if gains else math.nan


def _gain(support: Support) -> str:
    """Writes a mean gain with its standard error over patients."""
    if not math.isfinite(support.gain):
        return "-"
    return f"{support.gain:+.3f}" + (f" ({support.error:.3f})" if math.isfinite(support.error) else "")


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _setting_cells(setting: RegionDecoding) -> tuple[str, ...]:
    peak = "-" if setting.peak is None else f"{setting.peak:g}"
    switches = ("yes" if switch else "no" for switch in (setting.largest_only, setting.fill_holes))
    return (f"{setting.threshold:g}", peak, f"{setting.min_volume_mm3:g}", *switches)


def _spaced(values: Iterable[float | str]) -> str:
    return " ".join(str(value) for value in values)


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None
