"""Notices that predictions and references were given in the wrong order."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mets3d.data import DataError
from mets3d.data.cases import find_cases
from mets3d.files import read_json
from mets3d.rundir import PREDICTION_NOTE, RunDir

SCANS = 3  # from so many a case is a patient's images and no prediction that has one lying beside it
ORDER = "expected mets3d evaluate PREDICTIONS REFERENCES"


def refuse_swapped(predictions: Path, references: Path) -> None:
    """Refuses references that are predictions by their run or note, and predictions that are a data set.

    A data set of predictions is refused only where the references are not one: without a scan. Raises DataError.
    """
    if why := _of_predictions(references):
        raise DataError(f"{references}: {ORDER}, found predictions as REFERENCES: {why}; {_advice(references)}")
    if predictions.is_dir() and references.is_dir() and _with_scans(predictions) and not _with_scans(references):
        raise DataError(
            f"{predictions}: {ORDER}, found a data set with its scans as PREDICTIONS and label maps alone as "
            f"REFERENCES ({references}); exchange the two, or put predictions into a folder without scans"
        )


def _of_predictions(folder: Path) -> str:
    """Says by what a folder is known to hold predictions; empty where it is not."""
    if RunDir(folder).config.is_file() and (RunDir(folder).plan.is_file() or RunDir(folder).predictions.is_dir()):
        return "it is a run"
    with suppress(OSError, ValueError):
        note = read_json(folder / PREDICTION_NOTE)
        if isinstance(note, dict) and ("run" in note or "weights" in note):
            return f"{PREDICTION_NOTE} in it says which run made them"
    run = RunDir(folder.parent)
    return f"they lie in the run {run.path}" if run.config.is_file() and folder == run.predictions else ""


def _advice(references: Path) -> str:
    return f"exchange the two, or copy the label maps of {references} elsewhere if they are to count as references"


def _with_scans(folder: Path) -> bool:
    """Returns whether most cases of a folder are there with their scans."""
    try:
        cases = find_cases(folder)
    except (OSError, DataError):
        return False
    return 2 * sum(len(case.sequences) >= SCANS for case in cases) > len(cases)
