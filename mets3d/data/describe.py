"""Describes a data set in numbers: one pass over its cases, each read once by one of several processes.

A case that cannot be read has a finding and the numbers of what could be read of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from mets3d.data import Progress, quiet
from mets3d.data.case_summary import CaseSummary
from mets3d.data.cases import Case, CaseList, Finding, find_cases
from mets3d.data.check import CheckReport, each_case, read_case
from mets3d.data.describe_case import CaseNumbers, Described, describe_volumes
from mets3d.data.describe_places import CasePlaces, Places, collect_places
from mets3d.data.overview import overview
from mets3d.data.set_findings import set_findings
from mets3d.settings import Data


@dataclass(frozen=True)
class DataSet:
    """A data set in numbers."""

    sources: CaseList
    cases: list[CaseNumbers]  # in their order
    places: Places
    report: CheckReport
    settings: Data  # how the files were read

    @property
    def folder(self) -> Path:
        """Returns the folder of the data set."""
        return self.report.folder

    @property
    def findings(self) -> list[Finding]:
        """Returns the findings of `mets3d check`."""
        return self.report.findings

    @cached_property
    def patients(self) -> dict[str, list[CaseNumbers]]:
        """Returns each patient's cases, in the order of their names, which is that of time."""
        found: dict[str, list[CaseNumbers]] = {}
        for case in self.cases:
            found.setdefault(case.patient, []).append(case)
        return found

    @cached_property
    def time_points(self) -> dict[str, int]:
        """Returns the number of each case among its patient's, from 1."""
        return {case.name: at for cases in self.patients.values() for at, case in enumerate(cases, 1)}

    @property
    def labelled(self) -> list[CaseNumbers]:
        """Returns the cases with a reference that could be read."""
        return [case for case in self.cases if case.label_mm3 is not None]

    @cached_property
    def severities(self) -> Counter[tuple[str, str]]:
        """Returns the number of findings of each case and severity."""
        return Counter((finding.case, finding.severity) for finding in self.findings)


def describe(folder: Path, data: Data | None = None, *, jobs: int = 1, progress: Progress = quiet) -> DataSet:
    """Reads every case below `folder`, at most `jobs` at a time. Raises as `find_cases`. `data` None: the defaults."""
    data = data or Data()
    found = find_cases(folder, data)
    cases: list[CaseNumbers] = []
    of_cases: list[Finding] = []
    summaries: list[CaseSummary] = []

    def places() -> Iterator[CasePlaces]:
        for described in each_case(partial(describe_case, data=data), found, jobs, progress):
            cases.append(described.numbers)
            of_cases.extend(described.findings)
            summaries.append(described.summary)
            if described.places is not None:
                yield described.places

    summed = collect_places(places())
    findings = [*found.findings, *set_findings(summaries, data), *of_cases]
    names = [case.name for case in found]
    report = CheckReport(folder, names, findings, summaries, overview(found, summaries))
    return DataSet(found, cases, summed, report, data)


def describe_case(case: Case, data: Data) -> Described:
    """Reads and checks one case and returns its numbers, without any of its volumes."""
    checked = read_case(case, data)
    numbers, places = describe_volumes(case.name, case.patient, checked.images, checked.labels)
    if not checked.images and checked.labels is None:  # too large for the memory, or only headers can be read
        known = checked.summary
        numbers = replace(numbers, shape=known.shape or (), spacing_mm=known.spacing_mm, orientation=known.orientation)
    return Described(numbers, places, checked.findings, checked.summary)
