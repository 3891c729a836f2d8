"""Checks the cases of a data set and collects all findings before anything is computed from them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mets3d.data import DataError, Progress, quiet
from mets3d.data.cases import LABELS, SEQUENCES, Case, Finding, Scan, Severity, find_cases
from mets3d.data.grids import apart_mm, lie_apart, sizes_differ
from mets3d.data.nifti import Header, ImageVolume, LabelVolume, Oddity, read_header
from mets3d.data.reading import read_reference, read_scan
from mets3d.data.voxel_findings import brain_findings, image_findings, label_findings
from mets3d.processes import worker_processes
from mets3d.settings import Data

Result = TypeVar("Result")


@dataclass(frozen=True)
class CheckReport:
    """All findings of a data set."""

    folder: Path
    cases: list[str]
    where: dict[Path, int]
    findings: list[Finding]

    @property
    def unusable(self) -> list[str]:
        """Returns the names of cases with an error, sorted."""
        return sorted({finding.case for finding in self.findings if finding.severity == "error"})

    def table(self) -> str:
        """Returns the findings as text: cases per folder, one line per finding, worst first, and a sum."""
        lines = [f"{_cases(count)} in {place}" for place, count in sorted(self.where.items())]
        if self.findings:
            lines += ["", *findings_table(self.findings), ""]
        counts = {level: sum(finding.severity == level for finding in self.findings) for level in _ORDER}
        summed = ", ".join(f"{count} {level}{'s' * (count != 1)}" for level, count in counts.items())
        unusable = len(self.unusable)
        verdict = "all can be used" if not unusable else f"{unusable} cannot be used: {', '.join(self.unusable)}"
        return "\n".join([*lines, f"{_cases(len(self.cases))}, {verdict} ({summed})"])

    def as_json(self) -> dict[str, Any]:
        """Returns the report as plain values for JSON."""
        return {
            "folder": str(self.folder),
            "cases": self.cases,
            "unusable": self.unusable,
            "findings": [asdict(finding) for finding in self.findings],
        }


@dataclass
class Checked:
    """The readable volumes of a case and the findings about it."""

    images: dict[str, ImageVolume] = field(default_factory=dict)
    labels: LabelVolume | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def unusable(self) -> bool:
        """Returns whether any finding is an error."""
        return any(finding.severity == "error" for finding in self.findings)


def check(folder: Path, progress: Progress = quiet, *, data: Data | None = None, jobs: int = 1) -> CheckReport:
    """Reads every case below `folder` and reports all findings; raises as `find_cases`. `data` None: the defaults."""
    data = data or Data()
    cases = find_cases(folder, data)
    found = each_case(partial(check_case, data=data), cases, jobs, progress)
    findings = [*cases.findings, *itertools.chain.from_iterable(found)]
    return CheckReport(folder, [case.name for case in cases], cases.where, findings)


def check_case(case: Case, data: Data) -> list[Finding]:
    """Returns the findings of one case.

    Errors (the case cannot be used): a missing sequence; a file that is truncated, corrupt or not 3-D; shapes or
    affines that differ; NaN or infinity; a constant image; labels that are not whole numbers or outside 0..4; label
    voxels where all sequences are zero. Warnings: hardly any zero background, spacing and affine that disagree. Notes:
    negative values, an empty reference, label 4.
    """
    return read_case(case, data).findings


def read_case(case: Case, data: Data) -> Checked:
    """Reads the volumes of a case, each once, and returns them with the findings of `check_case`."""
    headers, findings = _headers(case)
    checked = Checked(findings=findings)
    for sequence in SEQUENCES:
        if sequence in headers:
            image = _reading(case, partial(read_scan, case, sequence), checked)
            if image is not None:
                checked.images[sequence] = image
    if case.labels is not None and LABELS in headers:
        checked.labels = _reading(case, partial(read_reference, case), checked)
    for sequence, image in checked.images.items():
        checked.findings += [*_odd(case, sequence, image.oddities), *image_findings(case, sequence, image)]
    if checked.labels is not None:
        checked.findings += _odd(case, LABELS, checked.labels.oddities)
        checked.findings += label_findings(case, checked.labels, data.cavity)
    shapes = {image.data.shape for image in checked.images.values()}
    if len(shapes) == 1 and not case.missing:
        checked.findings += brain_findings(case, checked.images, checked.labels)
    return checked


def check_headers(case: Case) -> list[Finding]:
    """Returns the findings that need no voxel: missing sequences, unreadable headers, grids that differ."""
    return _headers(case)[1]


def each_case(work: Callable[[Case], Result], cases: Sequence[Case], jobs: int, progress: Progress) -> Iterator[Result]:
    """Yields work(case) for every case, in order, from `jobs` processes. `work` must be picklable."""
    with worker_processes(min(jobs, len(cases))) as run_all:
        yield from _counted(run_all(work, cases), cases, progress)


def findings_table(findings: Sequence[Finding]) -> list[str]:
    """Returns one line per finding, worst first, in columns."""
    ordered = sorted(findings, key=lambda finding: (_ORDER.index(finding.severity), finding.case))
    rows = [("case", "severity", "finding", "detail")]
    rows += [
        (finding.case, finding.severity, finding.what, "; ".join(filter(None, (finding.detail, finding.advice))))
        for finding in ordered
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]) for row in rows]


def _cases(count: int) -> str:
    return f"{count} case{'s' * (count != 1)}"


# ---------------------------------------------------------------- from headers

_ORDER: tuple[Severity, ...] = ("error", "warning", "note")
_UNREADABLE = "unreadable file"


def _headers(case: Case) -> tuple[dict[str, Header], list[Finding]]:
    """Reads the headers by sequence, in channel order and the reference last. Returns the findings too."""
    findings = [_missing(case)] if case.missing else []
    headers: dict[str, Header] = {}
    seen = set()
    for kind, scan in _scans(case):
        try:
            headers[kind] = read_header(scan.path, scan.volume)
        except (DataError, OSError) as error:
            findings.append(Finding(case.name, "error", getattr(error, "what", _UNREADABLE), str(error)))
        else:
            if scan.path not in seen:  # the header of a 4-D file is that of all its sequences
                findings += _odd(case, kind, headers[kind].oddities)
            seen.add(scan.path)
    return headers, findings + _grid_findings(case, headers)


def _scans(case: Case) -> Iterator[tuple[str, Scan]]:
    """Yields the images of a case by sequence, in channel order, and the reference last."""
    yield from ((sequence, case.sequences[sequence]) for sequence in SEQUENCES if sequence in case.sequences)
    if case.labels is not None:
        yield LABELS, Scan(case.labels)


def _odd(case: Case, kind: str, oddities: Iterable[Oddity]) -> list[Finding]:
    """Returns what was odd in a file as findings."""
    return [
        Finding(case.name, oddity.severity, oddity.what, f"{kind}: {oddity.detail}", oddity.advice)
        for oddity in oddities
    ]


def _missing(case: Case) -> Finding:
    present = ", ".join(case.sequences) or "none"
    detail = f"expected {', '.join(SEQUENCES)}, found {present}; {', '.join(case.missing)} missing in {case.folder}"
    return Finding(case.name, "error", "missing sequence", detail, "add the file or remove the case")


def _grid_findings(case: Case, headers: Mapping[str, Header]) -> list[Finding]:
    findings = []
    shapes = {kind: header.shape for kind, header in headers.items()}
    if len(set(shapes.values())) > 1:
        detail = ", ".join(f"{kind} {'x'.join(map(str, shape))}" for kind, shape in shapes.items())
        advice = "resample all scans of a case to one grid (register, strip the skull), then try again"
        findings.append(Finding(case.name, "error", "shapes differ", f"in RAS order: {detail}", advice))
    elif headers:
        findings += [*_affine_findings(case, headers), *_size_findings(case, headers)]
    return findings


def _affine_findings(case: Case, headers: Mapping[str, Header]) -> list[Finding]:
    """Compares the files' grids, which have one shape, with that of the first file."""
    (first, reference), *others = headers.items()
    return [
        Finding(
            case.name,
            "error",
            "affines differ",
            f"{kind} {_affine(header)} but {first} {_affine(reference)} (RAS, mm): "
            f"the same voxel is up to {apart_mm(reference, header):.3g} mm apart",
            "resample all scans of a case to one grid, or correct the wrong header",
        )
        for kind, header in others
        if lie_apart(reference, header)
    ]


def _size_findings(case: Case, headers: Mapping[str, Header]) -> list[Finding]:
    """Compares the voxel sizes in the headers of reference and first scan, by which volumes are computed."""
    (first, reference), *_ = headers.items()
    labels = headers.get(LABELS)
    if labels is None or not sizes_differ(reference.spacing_mm, labels.spacing_mm):
        return []
    sizes = f"{first} has voxels of {_mm(reference.spacing_mm)}, {LABELS} of {_mm(labels.spacing_mm)}"
    detail = f"{sizes} (RAS, by the headers)"
    return [Finding(case.name, "error", "voxel sizes differ", detail, "correct the wrong one")]


def _affine(header: Header) -> str:
    return str([[round(float(value), 4) + 0.0 for value in row] for row in header.affine[:3]])


def _mm(values: Iterable[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values) + " mm"


# ---------------------------------------------------------------- from voxels


def _reading(case: Case, read: Callable[[], Result], checked: Checked) -> Result | None:
    try:
        return read()
    except (DataError, OSError) as error:
        checked.findings.append(Finding(case.name, "error", getattr(error, "what", _UNREADABLE), str(error)))
        return None


def _counted(results: Iterable[Result], cases: Sequence[Case], progress: Progress) -> Iterator[Result]:
    for done, (case, result) in enumerate(zip(cases, results, strict=True), 1):
        progress(done, len(cases), case.name)
        yield result
