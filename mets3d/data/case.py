"""Defines a case, one time point of one patient, its scans on disk, and findings about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mets3d.settings.channels import SEQUENCES

__all__ = ["LABELS", "SEQUENCES", "Case", "CaseList", "Finding", "Scan", "Severity", "in_order"]

LABELS = "seg"

Severity = Literal["error", "warning", "note"]


def in_order(sequences: Iterable[str]) -> list[str]:
    """Returns sequences in channel order: the known ones, then others as they come."""
    there = list(sequences)
    return [*(name for name in SEQUENCES if name in there), *(name for name in there if name not in SEQUENCES)]


@dataclass(frozen=True)
class Finding:
    """A finding about one case: `what` in short, `detail` with the values found, `advice` on what to do."""

    case: str
    severity: Severity
    what: str
    detail: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.case}: {self.what}: {self.detail}" + (f"; {self.advice}" if self.advice else "")


@dataclass(frozen=True)
class Scan:
    """One image on disk: a file and, where it is 4-D, which of its volumes."""

    path: Path
    volume: int | None = None


@dataclass(frozen=True)
class Case:
    """One time point of one patient: the scans that exist, by sequence.

    label_map: the integers of the reference's file to ours; one that is not named stays as it is. mask: the brain's.
    """

    name: str
    folder: Path
    sequences: dict[str, Scan]
    labels: Path | None
    patient: str
    label_map: dict[int, int] = field(default_factory=dict)
    mask: Path | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """The four known sequences without a file, in channel order."""
        return self.without(SEQUENCES)

    def without(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """Returns those of the wanted sequences that have no file."""
        return tuple(sequence for sequence in wanted if sequence not in self.sequences)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the case: sequences in channel order, then the reference and the brain mask."""
        images = [self.sequences[sequence].path for sequence in in_order(self.sequences)]
        return tuple(dict.fromkeys([*images, *(file for file in (self.labels, self.mask) if file is not None)]))

    def _repr_html_(self) -> str:
        """Shows the scans and the reference in a notebook."""
        import mets3d

        return str(mets3d.view(self)._repr_html_())


class CaseList(list[Case]):
    """Cases sorted by name; `where` counts them per parent folder, `findings` are about the `layout`."""

    def __init__(self, cases: Sequence[Case], where: dict[Path, int], findings: list[Finding], layout: str):
        super().__init__(cases)
        self.where = where
        self.findings = findings
        self.layout = layout
