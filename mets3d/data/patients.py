"""Says which patient a case is of: by its name, by a pattern, or by a file."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from mets3d.data import DataError
from mets3d.wording import counted

_COLUMNS = ("case", "patient")
_ENDINGS = (".csv", ".tsv", ".txt")
_FAULTS_SHOWN = 10
# The time point at the end of a name, and what must be left of the name before it. The first that fits counts.
_TIME_POINTS = (
    # BIDS: sub-01_ses-02, sub-01_ses-02_run-1; a subject's label has neither hyphen nor underscore
    re.compile(r"(?P<patient>sub-[^\W_]+)_.+"),
    # UCSF-BMSR: 100101A, the letter is the exam
    re.compile(r"(?P<patient>\d{3,})[A-Za-z]"),
    # said in words: P07_ses-02, Patient-001_week-044, UCSF-PDGM-0429_FU001d, P01_baseline
    re.compile(
        r"(?P<patient>.+?)[-_ ](?:(?:ses|session|tp|timepoint|visit|fu|follow-?up|day|week|month|year)[-_]?\d+[a-z]?"
        r"|baseline)",
        re.IGNORECASE,
    ),
    # a date after the patient's number: P07_2019-03-28, MET_0012-20190328
    re.compile(r"(?P<patient>.*\d.*?)[-_ ](?:19|20)\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"),
    # BraTS: BraTS-MET-00001-000, three digits after the patient's number, which stands by itself or has three digits or
    # more. Without such a number, as in MET-001, they are the patient; after a year or a site, as in site2-001, too.
    re.compile(
        r"(?!(?:.*[-_ ])?(?:(?:19|20)\d\d|(?:site|cent(?:er|re)|hospital|clinic|cohort|study|batch)[-_]?\d+)-\d{3}\Z)"
        r"(?P<patient>(?:.*[-_ ])?\d+|.*\d{3,})-\d{3}",
        re.IGNORECASE,
    ),
)


def patient_of(name: str) -> str:
    """Returns the patient by a case's name: the name without its time point, the whole name if it has none.

    `BraTS-MET-00001-000`, `sub-01_ses-02`, `100101A` and `P07_week-12` have a time point; `MET-001`, `siteA-001`,
    `sub-001` and `BraTS20_Training_001` are patients of their own.
    """
    for form in _TIME_POINTS:
        found = form.fullmatch(name)
        if found:
            return found["patient"]
    return name


def patients_of(
    names: Sequence[str], chosen: str | Path | None = None, *, also_known: Collection[str] = ()
) -> dict[str, str]:
    """Returns case -> patient of every name, as `chosen` says: `data.patients`, None for the rule of `patient_of`.

    chosen: a regular expression with one group, which is searched for in the name and whose group is the patient; or a
    CSV file with the columns case and patient, in that order where it has no header. `also_known` are cases that such a
    file may name beside `names`.

    Raises FileNotFoundError for a file that is not there, and DataError for a pattern that is none or has not one
    group, for names that it does not fit, for a case of which the file has no line, and for lines that name an unknown
    case, or one a second time, or no patient; all of them are listed.
    """
    if chosen is None:
        return {name: patient_of(name) for name in names}
    if _is_file(chosen):
        return _from_file(Path(chosen), names, also_known)
    return _by_pattern(str(chosen), names)


def _is_file(chosen: str | Path) -> bool:
    if isinstance(chosen, Path) or chosen.lower().endswith(_ENDINGS):
        return True
    with suppress(OSError):  # a pattern can be longer than any file's name
        return Path(chosen).is_file()
    return False


# ---------------------------------------------------------------- a pattern


def _by_pattern(pattern: str, names: Sequence[str]) -> dict[str, str]:
    form = compiled(pattern)
    found = {name: form.search(name) for name in names}
    patients = {name: match[1] for name, match in found.items() if match is not None and match[1]}
    others = [name for name in names if name not in patients]
    if others:
        raise DataError(
            f"data.patients: the pattern {pattern} finds no patient in the name of {counted(len(others), 'case')}: "
            f"{_some(others)}; widen it, or name a file with the columns case,patient"
        )
    return patients


def compiled(pattern: str) -> re.Pattern[str]:
    """Returns the pattern ready for use. Raises DataError if it is none, or has another number of groups than one."""
    try:
        form = re.compile(pattern)
    except re.error as error:
        raise DataError(f"data.patients: {pattern} is neither a file nor a regular expression: {error}") from None
    if form.groups != 1:
        raise DataError(
            f"data.patients: {pattern} is no file, and as a regular expression has {form.groups} groups; expected one, "
            "the patient, as in (.+)_ses-[0-9]+; brackets that are not to count are (?:...)"
        )
    return form


# ---------------------------------------------------------------- a file


def _from_file(file: Path, names: Sequence[str], also_known: Collection[str]) -> dict[str, str]:
    known = {*names, *also_known}
    patients: dict[str, str] = {}
    first: dict[str, int] = {}
    faults = []
    for line, case, patient in _lines(file):
        if case in first:
            faults.append(f"line {line}: {case} for the second time, after line {first[case]}")
        elif case not in known:
            faults.append(f"line {line}: {case or 'an empty name'} is no case of the data set")
        elif not patient:
            faults.append(f"line {line}: {case} has no patient")
        first.setdefault(case, line)
        patients.setdefault(case, patient)
    without = [name for name in names if name not in first]
    if without:
        faults.append(f"no line for {counted(len(without), 'case')}: {_some(without)}")
    if faults:
        more = [f"and {len(faults) - _FAULTS_SHOWN} more"] if len(faults) > _FAULTS_SHOWN else []
        raise DataError("\n  ".join([f"{file}: data.patients does not fit:", *faults[:_FAULTS_SHOWN], *more]))
    return {name: patients[name] for name in names}


def _lines(file: Path) -> Iterator[tuple[int, str, str]]:
    """Yields number, case and patient of every line. Raises DataError for a table of another form."""
    if not file.is_file():
        raise FileNotFoundError(f"data.patients: {file}: no such file; expected one with lines case,patient")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: data.patients: expected a UTF-8 text file ({error})") from None
    head = text.lstrip().partition("\n")[0]
    reader = csv.reader(text.splitlines(), delimiter=max(",;\t", key=head.count))
    case, patient, columns = 0, 1, 0
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if not columns:
            columns = len(cells)
            heading = [cell.casefold() for cell in cells]
            if set(_COLUMNS) <= set(heading):
                case, patient = (heading.index(name) for name in _COLUMNS)
                continue
            if columns != len(_COLUMNS):
                raise DataError(f"{file}: line {reader.line_num}: expected case,patient, found {columns} columns")
        if len(cells) != columns:
            raise DataError(f"{file}: line {reader.line_num}: expected {columns} columns, found {len(cells)}")
        yield reader.line_num, cells[case], cells[patient]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
