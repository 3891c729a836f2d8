"""Holds the outcome of tuning: per region the choice and its scores, as a table, as caveats and as a record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mets3d.data.wording import counted
from mets3d.inference.decoding_settings import RegionDecoding
from mets3d.tuning.search import GAIN, SearchGrid

FEW_CASES = 20
SETTING_HEADS = ("threshold", "peak above", "from mm3", "largest only", "fill holes")


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


@dataclass(frozen=True)
class Tuning:
    """The choice for every region, the cases it was made on, and its gain."""

    objective: str
    rules: str
    cases: tuple[str, ...]
    folds: int
    regions: tuple[RegionTuning, ...]
    file: Path

    def table(self) -> str:
        """Returns one line per region, outermost first."""
        lines: list[tuple[str, ...]] = [("region", "cases", "default", "tuned", "cross-validated", *SETTING_HEADS)]
        for row in self.regions:
            scores = (f"{x:.3f}" if math.isfinite(x) else "-" for x in (row.default, row.tuned, row.crossed))
            lines.append((row.region, str(row.cases), *scores, *_setting_cells(row.setting)))
        widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def caveats(self) -> list[str]:
        """Returns what a reader has to know before believing the table."""
        count = counted(len(self.cases), "case")
        verb = "is" if len(self.cases) == 1 else "are"
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
        return caveats

    def record(self, grids: Mapping[str, SearchGrid]) -> dict[str, Any]:
        """Returns, for the decoding's file, how the settings were chosen and what they score."""
        return {
            "objective": self.objective,
            "rules": self.rules,
            "scores": {
                row.region: {
                    "cases": row.cases,
                    "default": _json(row.default),
                    "tuned": _json(row.tuned),
                    "cross_validated": _json(row.crossed),
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


def _setting_cells(setting: RegionDecoding) -> tuple[str, ...]:
    peak = "-" if setting.peak is None else f"{setting.peak:g}"
    switches = ("yes" if switch else "no" for switch in (setting.largest_only, setting.fill_holes))
    return (f"{setting.threshold:g}", peak, f"{setting.min_volume_mm3:g}", *switches)


def _spaced(values: Iterable[float | str]) -> str:
    return " ".join(str(value) for value in values)


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None
