"""Checks the cases of a data set and collects all findings before anything is computed from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mets3d.data import DataError, Progress, quiet
from mets3d.data.brain import How, Mask, brain_of
from mets3d.data.case import in_order
from mets3d.data.case_summary import CaseSummary, described, label_counts, scan_facts, shared_faces
from mets3d.data.cases import LABELS, Case, Finding, find_cases
from mets3d.data.findings_table import ORDER, findings_table
from mets3d.data.header_findings import grid_findings, memory_findings, odd_findings
from mets3d.data.label_findings import BEYOND, label_findings, outside_findings, without_unknown
from mets3d.data.native import REFERENCE, common_grid, image_onto, is_on_grid, labels_onto
from mets3d.data.native_findings import mask_onto, reference_finding
from mets3d.data.nifti import Header, ImageVolume, LabelVolume, read_header
from mets3d.data.overview import overview
from mets3d.data.reading import read_mask, read_reference, read_scan, scans_of
from mets3d.data.set_findings import set_findings
from mets3d.data.voxel_findings import brain_findings, image_findings, intensity_findings
from mets3d.data.wording import WHOLE_SET
from mets3d.processes import LostError, WorkerLost, each_done
from mets3d.settings import Data
from mets3d.settings.channels import sequences_of
from mets3d.wording import counted

Result = TypeVar("Result")
Examined = tuple[list[Finding], CaseSummary]
NAMED = 5  # cases that the closing line names


@dataclass(frozen=True)
class CheckReport:
    """All findings of a data set, and a summary of each case."""

    folder: Path
    cases: list[str]
    findings: list[Finding]
    summaries: list[CaseSummary]
    overview: list[str]

    @property
    def unusable(self) -> list[str]:
        """Returns the names of cases with an error, sorted. An error of the whole set is one of all with reference."""
        errors = {finding.case for finding in self.findings if finding.severity == "error"}
        if WHOLE_SET in errors:
            errors |= {summary.name for summary in self.summaries if summary.has_reference}
        return sorted(errors - {WHOLE_SET})

    def table(self) -> str:
        """Returns the report as text: the overview, the findings by kind, worst first, and a verdict."""
        lines = [*self.overview, ""]
        if self.findings:
            lines += [*findings_table(self.findings), ""]
        return "\n".join([*lines, self._verdict()])

    def as_json(self) -> dict[str, Any]:
        """Returns the report as plain values for JSON."""
        return {
            "folder": str(self.folder),
            "overview": self.overview,
            "cases": self.cases,
            "unusable": self.unusable,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def _verdict(self) -> str:
        counts = {level: sum(finding.severity == level for finding in self.findings) for level in ORDER}
        summed = ", ".join(counted(count, level) for level, count in counts.items())
        unusable = self.unusable
        named = ", ".join(unusable[:NAMED]) + (f" and {len(unusable) - NAMED:,} more" if len(unusable) > NAMED else "")
        verdict = f"{len(unusable):,} cannot be used: {named}" if unusable else "all can be used"
        if counts["warning"] and not unusable:
            verdict += ", though not all is as it is probably meant"
        return f"{counted(len(self.cases), 'case')}, {verdict} ({summed})"


@dataclass
class Checked:
    """What the whole set's findings need of a case, its readable volumes, and the findings about it."""

    summary: CaseSummary
    images: dict[str, ImageVolume] = field(default_factory=dict)
    labels: LabelVolume | None = None
    findings: list[Finding] = field(default_factory=list)
    brain: Mask | None = None  # where it is known

    @property
    def unusable(self) -> bool:
        """Returns whether any finding is an error."""
        return any(finding.severity == "error" for finding in self.findings)


def check(
    folder: Path, progress: Progress = quiet, *, data: Data | None = None, brain: How = "nonzero", jobs: int = 1
) -> CheckReport:
    """Reads every case below `folder` and reports all findings; raises as `find_cases`.

    data: None is the defaults. brain: as the setting `preprocess.brain`.
    """
    data = data or Data()
    cases = find_cases(folder, data)
    found = list(each_case(partial(examine, data=data, brain=brain), cases, jobs, progress))
    summaries = [summary for _, summary in found]
    of_cases = [finding for findings, _ in found for finding in findings]
    findings = [*cases.findings, *set_findings(summaries, data), *of_cases]
    return CheckReport(folder, [case.name for case in cases], findings, summaries, overview(cases, summaries))


def examine(case: Case, data: Data, brain: How = "nonzero") -> Examined:
    """Returns the findings of one case, and what `set_findings` needs of it; both small enough to be sent about."""
    checked = read_case(case, data, brain)
    return checked.findings, checked.summary


def check_case(case: Case, data: Data, brain: How = "nonzero") -> list[Finding]:
    """Returns the findings of one case; docs/data.md lists them. brain: as the setting `preprocess.brain`.

    An error means that the case cannot be used, a warning that it can but is probably not what was meant, a note that
    something is odd and legal.
    """
    return read_case(case, data, brain).findings


def read_case(case: Case, data: Data, brain: How = "nonzero") -> Checked:
    """Reads the volumes of a case, each once, and returns them with the findings of `check_case`."""
    wanted = sequences_of(data.sequences)
    headers, findings = _headers(case, data)
    checked = Checked(described(case, headers), findings=[*findings, *memory_findings(case, headers)])
    if any(finding.what == "larger than the memory" for finding in checked.findings):
        return checked
    grid = common_grid(headers) if data.grids == "t1c" and not checked.unusable else None
    for sequence in wanted:
        if sequence in headers:
            image = _reading(case, partial(read_scan, case, sequence), checked)
            if image is not None:
                checked.images[sequence] = image if grid is None else image_onto(image, grid)
                checked.findings += odd_findings(case, sequence, image.oddities)
                checked.findings += image_findings(case, sequence, image)
    if case.labels is not None and LABELS in headers:
        _read_labels(case, data, checked, grid)
    mask = _read_mask(case, checked, headers, data) if brain == "file" else None
    _look_into_brain(case, checked, brain, mask)
    return checked


def check_headers(case: Case, data: Data | None = None) -> list[Finding]:
    """Returns the findings that need no voxel: missing sequences, unreadable headers, grids that differ.

    Only the sequences of `data` are looked at, and t1c, whose grid is the case's; `data` None: the defaults.
    """
    return _headers(case, data or Data())[1]


def each_case(work: Callable[[Case], Result], cases: Sequence[Case], jobs: int, progress: Progress) -> Iterator[Result]:
    """Yields work(case) for every case, in order, from `jobs` processes. `work` must be picklable.

    Raises LostError, naming the cases in hand, where a worker is lost, as to a system without memory.
    """
    results: dict[str, Result] = {}
    with closing(each_done(work, cases, min(jobs, len(cases)))) as done:
        for number, (case, result) in enumerate(done, 1):
            if isinstance(result, WorkerLost):
                names = ", ".join(one.name for one in result.in_hand)
                raise LostError(f"{result.reason}, with {names} in hand; use fewer --jobs")
            results[case.name] = result
            progress(number, len(cases), case.name)
    yield from (results[case.name] for case in cases)


# ---------------------------------------------------------------- from headers


def _headers(case: Case, data: Data) -> tuple[dict[str, Header], list[Finding]]:
    """Reads the headers by sequence, in channel order and the reference last. Returns the findings too."""
    wanted = sequences_of(data.sequences)
    findings = [_missing(case, wanted, data)] if case.without(wanted) else []
    headers: dict[str, Header] = {}
    seen = set()
    for kind, scan in scans_of(case):
        if kind not in (*wanted, REFERENCE, LABELS):
            continue
        try:
            headers[kind] = read_header(scan.path, scan.volume)
        except (DataError, OSError) as error:
            findings.append(_unreadable(case, error))
        else:
            if scan.path not in seen:  # the header of a 4-D file is that of all its sequences
                findings += odd_findings(case, kind, headers[kind].oddities)
            seen.add(scan.path)
    return headers, findings + grid_findings(case, headers, data.grids)


def _unreadable(case: Case, error: Exception) -> Finding:
    return Finding(case.name, "error", getattr(error, "what", "unreadable file"), str(error))


def _missing(case: Case, wanted: Sequence[str], data: Data) -> Finding:
    """Returns an error, or a note where zeros may stand for what is missing and something is there."""
    missing = case.without(wanted)
    present = ", ".join(in_order(case.sequences)) or "none"
    detail = f"expected {', '.join(wanted)}, found {present}; {', '.join(missing)} missing in {case.folder}"
    if data.missing_sequences == "zero" and len(missing) < len(wanted):
        return Finding(case.name, "note", "missing sequence", f"{detail}; zeros stand for it")
    advice = (
        "add the file, set data.missing_sequences to zero, before a training name the sequences that are there in "
        "data.sequences, or leave the case out"
    )
    return Finding(case.name, "error", "missing sequence", detail, advice)


# ---------------------------------------------------------------- from voxels


def _reading(case: Case, read: Callable[[], Result], checked: Checked) -> Result | None:
    try:
        return read()
    except (DataError, OSError) as error:
        checked.findings.append(_unreadable(case, error))
        return None


def _read_labels(case: Case, data: Data, checked: Checked, grid: Header | None) -> None:
    """Adds the reference, with background in the place of unknown labels, which are errors where that is not set.

    It is brought onto the grid if there is one.
    """
    beyond = BEYOND if data.illegal_labels == "background" else None
    labels = _reading(case, partial(read_reference, case, beyond=beyond), checked)
    if labels is None:
        return
    checked.findings += [*odd_findings(case, LABELS, labels.oddities), *label_findings(case, labels, data)]
    own = checked.labels = without_unknown(labels)
    counts, faces = label_counts(own.labels), shared_faces(own.labels)
    if grid is not None and not is_on_grid(own, grid):
        checked.labels = labels_onto(own, grid)
        checked.findings.append(reference_finding(case, own, checked.labels))
    checked.summary = replace(checked.summary, label_voxels=counts, faces=faces)


def _read_mask(case: Case, checked: Checked, headers: Mapping[str, Header], data: Data) -> Mask | None:
    """Returns the brain mask of the case's file, on the grid of its scans; None with a finding where that fails."""
    volume = _reading(case, partial(read_mask, case), checked)
    grid = common_grid(headers)
    if volume is None or grid is None:
        return None
    found, finding = mask_onto(case, volume, grid, data.grids)
    checked.findings += [] if finding is None else [finding]
    return found


def _look_into_brain(case: Case, checked: Checked, how: How, mask: Mask | None) -> None:
    """Adds the brain and the findings about it, see `mets3d.data.brain`.

    Without every sequence, or with one that is broken, it is not known where the brain is.
    """
    images, labels = checked.images, checked.labels
    broken = {"not a number", "constant image"} & {finding.what for finding in checked.findings}
    lacking = any(finding.what == "missing sequence" and finding.severity == "error" for finding in checked.findings)
    if not images or lacking or broken or len({image.shape for image in images.values()}) > 1:
        return
    if how == "file" and mask is None:
        return
    brain = checked.brain = brain_of(images.values(), how, mask)
    if how == "nonzero":
        checked.findings += brain_findings(case, images, brain)
    marked = np.zeros(int(np.count_nonzero(brain)), dtype=np.uint8)
    if labels is not None and labels.shape == brain.shape:
        checked.findings += outside_findings(case, labels, brain, masked=how == "file")
        marked = labels.labels[brain]
    labelled = np.flatnonzero(marked)
    scans = {}
    for sequence, image in images.items():
        inside = image.data[brain]
        checked.findings += intensity_findings(case, sequence, inside, image.background)
        scans[sequence] = scan_facts(inside, image.background, labelled, marked[labelled])
    checked.summary = replace(checked.summary, brain_voxels=len(marked), scans=scans)
