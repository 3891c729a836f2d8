"""Makes the cases of a store: each is read, checked, prepared and saved by one process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mets3d.config import Data, Preprocess
from mets3d.data import DataError, Progress
from mets3d.data.case_record import Record, forget_case, record_of, remove_leftovers, write_record
from mets3d.data.case_summary import described
from mets3d.data.cases import Case, Finding
from mets3d.data.check import Checked, read_case
from mets3d.data.fingerprint import describe_case
from mets3d.data.memory import voxels_of
from mets3d.data.normalise import Normalisation
from mets3d.data.prepare import Prepared, prepare
from mets3d.data.spacing import Wanted
from mets3d.data.store_source import case_source, file_hashes
from mets3d.data.stored_case import case_path, write_case
from mets3d.processes import WorkerLost, each_done


@dataclass(frozen=True)
class Making:
    """How the cases below `folder` become those of a store."""

    folder: Path
    store: Path
    settings: Preprocess
    data: Data
    spacing_mm: Wanted
    intensities: Normalisation


class CannotWriteError(OSError):
    """A store that cannot be written to, such as on a full disk; no fault of a case."""

    exit_code = 1


def store_cases(
    cases: Sequence[Case], making: Making, doubtful: Mapping[str, Finding], *, jobs: int, progress: Progress
) -> None:
    """Stores each case or records why it cannot be used, the largest first, so that the last ones end together.

    doubtful: cases that are not to be read, and why. Raises CannotWriteError as `store_case`. When it ends early, the
    workers have ended and left nothing half.
    """
    refused = [case for case in cases if case.name in doubtful]
    for done, case in enumerate(refused, 1):
        _refuse(case, making, doubtful[case.name])
        progress(done, len(cases), case.name)
    sizes = {case.name: voxels_of(case) for case in cases if case.name not in doubtful}
    rest = sorted((case for case in cases if case.name in sizes), key=lambda case: -sizes[case.name])
    try:
        with closing(each_done(partial(store_case, making=making), rest, jobs)) as results:
            for done, (case, result) in enumerate(results, 1 + len(refused)):
                if isinstance(result, WorkerLost):
                    _note_lost(case, making, result.reason)
                progress(done, len(cases), case.name)
    finally:
        remove_leftovers(making.store)


def store_case(case: Case, making: Making) -> Record:
    """Puts one case into the store, or leaves one that is already there. Returns its record, which is written last.

    Whatever is wrong with the case is a finding of its record. Raises CannotWriteError naming the case where the store
    cannot be written to; nothing half is left.
    """
    record = record_of(making.store, case, making.folder)
    if record is not None and record.stored:
        return record
    source = case_source(case, making.folder)
    checked = Checked(described(case, {}))
    prepared = _read(case, making, checked)
    with writing(making.store, case.name):
        forget_case(making.store, case.name)
        if prepared is not None:
            _write(case, making, prepared)
            source["sha256"] = file_hashes(case, making.folder)
        record = Record(source, prepared is not None, checked.findings, checked.summary)
        write_record(making.store, case.name, record)
    return record


@contextmanager
def writing(store: Path, what: str) -> Iterator[None]:
    """Turns an error of the file system in the block, which writes, into a CannotWriteError."""
    try:
        yield
    except CannotWriteError:
        raise
    except OSError as error:
        raise CannotWriteError(
            f"{what} cannot be written to {store}: {error.strerror or error}. The finished cases are kept: free the "
            "disk or its rights, and give the same command again"
        ) from None


def _note_lost(case: Case, making: Making, reason: str) -> None:
    """Records that a worker was lost with this case in hand, unless it had just finished it."""
    record = record_of(making.store, case, making.folder)
    if record is None or not record.stored:
        advice = "give the same command again, with a smaller --jobs if memory is short"
        detail = f"{reason}, with this case in hand"
        _refuse(case, making, Finding(case.name, "error", "worker lost", detail, advice))


def _refuse(case: Case, making: Making, finding: Finding) -> None:
    """Writes the record of a case that is not read, for this reason."""
    with writing(making.store, case.name):
        forget_case(making.store, case.name)
        record = Record(case_source(case, making.folder), False, [finding], described(case, {}))
        write_record(making.store, case.name, record)


def _read(case: Case, making: Making, checked: Checked) -> Prepared | None:
    """Reads and prepares a case, and adds to `checked` what is found; None if the case cannot be used."""
    try:
        found = read_case(case, making.data, making.settings.brain)
        checked.findings += found.findings
        checked.summary = found.summary
        if found.unusable or found.labels is None:
            return None
        images = dict(found.images)
        found.images.clear()
        return prepare(
            images,
            found.labels,
            making.spacing_mm,
            making.settings.margin_voxels,
            cavity=making.data.cavity,
            intensities=making.intensities,
            channels=making.data.sequences,
            brain=found.brain,
        )
    except DataError as error:
        checked.findings.append(Finding(case.name, "error", "cannot be prepared", str(error)))
    except MemoryError as error:
        advice = "take fewer --jobs, or a machine with more memory"
        checked.findings.append(Finding(case.name, "error", "no memory", str(error) or "memory ran out", advice))
    except Exception as error:  # one case of a thousand must not end the others, whatever a library makes of it
        checked.findings.append(Finding(case.name, "error", "cannot be read", f"{type(error).__name__}: {error}"))
    return None


def _write(case: Case, making: Making, prepared: Prepared) -> None:
    assert prepared.labels is not None
    cavity = making.data.cavity
    metadata = {
        "entry": prepared.entry.as_json(),
        "fingerprint": describe_case(
            prepared.image,
            prepared.labels,
            prepared.entry,
            cavity=cavity,
            channels=making.data.sequences,
            survival=prepared.survival,
        ),
    }
    path = case_path(making.store, case.name)
    write_case(path, prepared.image, prepared.labels, cavity=cavity, metadata=metadata)
