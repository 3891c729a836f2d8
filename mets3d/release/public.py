"""Selects the parts of a run that may be published: no names of cases and patients, folders or accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mets3d.config import Config, as_dict, leaves, validate
from mets3d.evaluation.tables import Row
from mets3d.files import NAMES, OBJECT, OBJECTS, TEXT, read_object
from mets3d.inference.decoding_plan import CASES
from mets3d.inference.decoding_settings import WEIGHTS, Decoding, check_tuned_for, decoding_for
from mets3d.inference.members import Member
from mets3d.rundir import PredictionsDir, RunDir
from mets3d.statistics.cohort import cohort_table
from mets3d.statistics.decodings import decoding_in_words, decoding_remarks
from mets3d.statistics.edited_table import columns_in
from mets3d.statistics.score_table import read_scores, table_of
from mets3d.statistics.table_gaps import of_known_regions, table_gaps
from mets3d.wording import counted

# Every setting that is free text can hold a folder, a person or a project, and prediction needs none of them.
PRIVATE = (
    "output", "weights", "data.store", "data.cache", "data.patients", "data.exclude", "data.overlay", "data.split",
    "model.vit_pretrained", "track.project",
)  # fmt: skip
# Of decoding.json what names no case.
TUNED = (*(WEIGHTS, "objective", "rules", "forced", "scores", "cross_validation", "cross_validation_folds", "grid"),)
NO_SCORES = Path("none")


def public_config(config: Config, name: str | None) -> Config:
    """Returns the configuration with every free text but the name as it is by default."""
    tree = as_dict(config)
    for key, default, _ in leaves():
        if key in PRIVATE:
            *sections, last = key.split(".")
            place = tree
            for section in sections:
                place = place[section]
            place[last] = default
    return validate(tree | ({} if name is None else {"name": name}), [])


def public_decoding(run: RunDir, member: Member) -> tuple[Decoding, dict[str, Any]] | None:
    """Returns the run's tuned decoding and how it was chosen, with the number of cases in place of their names.

    None where the run was not tuned. Raises ValueError for a decoding that was tuned for other weights.
    """
    if not run.decoding.exists():
        return None
    check_tuned_for(run.decoding, [member.weights_sha256], otherwise="remove the file")
    decoding = decoding_for(member.target, member.config.predict, run.decoding)
    content = read_object(run.decoding, may={"cases": CASES})
    about = {key: content[key] for key in TUNED if key in content}
    cases = content.get("cases")
    return decoding, about | ({} if cases is None else {"cases": cases if isinstance(cases, int) else len(cases)})


@dataclass(frozen=True)
class PublicScores:
    """The cohort's numbers as `cohort_table` makes them, caveats, and how the cases were decoded if that is known."""

    rows: Sequence[Row] = ()
    caveats: Sequence[str] = ()
    decoding: str = ""


def public_scores(run: RunDir, member: Member, chosen: Path | None) -> PublicScores:
    """Returns the cohort's numbers, none where there are none, and caveats about them.

    chosen: a score table, `none`, or None for the run's own where it has one. Raises ValueError if the scores are not
    those of this network on cases that it was not trained on.
    """
    if chosen == NO_SCORES or (chosen is None and not run.scores.exists()):
        return PublicScores()
    file = run.scores if chosen is None else chosen
    rows, left_out = of_known_regions(read_scores(file))
    if not rows:
        raise ValueError(f"{file}: {left_out}; evaluate again, or leave the scores out with --scores none")
    _check_unseen(run, file, rows)
    lacking = table_gaps(rows, columns_in(table_of(file)), _held_out(run) if chosen is None else (), named=False)
    gaps = [f"the table of scores is not whole: {gap}" for gap in [left_out, *lacking] if gap]
    found = PublicScores(cohort_table(rows), [*gaps, *decoding_remarks(rows, named=False)], decoding_in_words(rows))
    note = PredictionsDir(run.predictions).note
    if chosen is not None or not note.exists():
        return found
    made_by = read_object(note, may={WEIGHTS: TEXT, "members": OBJECTS, "decoding": OBJECT})
    weights = {member[WEIGHTS] for member in (made_by, *made_by.get("members", [])) if WEIGHTS in member}
    if weights - {member.weights_sha256}:
        raise ValueError(
            f"{file}: {note} names other weights than {run.weights}, most likely older ones; predict and "
            "evaluate again, name another table with --scores, or leave the scores out with --scores none"
        )
    own = decoding_for(member.target, member.config.predict, run.decoding if run.decoding.exists() else None)
    otherwise = made_by.get("decoding", {}) not in ({}, {name: asdict(setting) for name, setting in own.items()})
    caveat = "the scores are of predictions that were decoded with other thresholds than those exported here"
    return replace(found, caveats=[caveat, *found.caveats]) if otherwise else found


def _held_out(run: RunDir) -> list[str]:
    """Returns the cases that the run held out; none where it has no record of them."""
    return list(read_object(run.split, may={"validation": NAMES}).get("validation", [])) if run.split.exists() else []


def _check_unseen(run: RunDir, file: Path, rows: list[Row]) -> None:
    """Raises ValueError for scores of cases that the run was trained on."""
    trained_on = set(read_object(run.split, {"training": NAMES})["training"]) if run.split.exists() else set()
    seen = {row["case"] for row in rows} & trained_on
    if seen:
        raise ValueError(
            f"{file} holds scores of {counted(len(seen), 'case')} that the run was trained on, which say nothing "
            f"about new ones; "
            f"evaluate what `mets3d predict {run.path} DATA --held-out` writes, name another table with --scores, or "
            "leave them out with --scores none"
        )
