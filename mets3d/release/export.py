"""A run as a folder to give away: what prediction needs, a model card, and nothing that tells of machine or patients.

OUT/
    model.safetensors   the weights
    config.yaml         the configuration, without folders and accounts
    plan.json           what preprocessing does
    decoding.json       thresholds and component limits, if the run was tuned
    README.md           the model card
    model.onnx          on request: the network for one window
    configs/, LICENSE   on request: what makes the folder a MONAI bundle

`mets3d.Predictor.from_pretrained(OUT)` and `mets3d predict OUT DATA PREDICTIONS` take it, and so does the hub.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from mets3d.config import Config, as_dict, leaves, to_yaml, validate
from mets3d.data.preprocess import NORMALISATION
from mets3d.evaluation.tables import Row
from mets3d.files import COUNT, NAMES, OBJECT, OBJECTS, TEXT, Kind, read_object, replacing, write_json, write_text
from mets3d.inference.decoding import WEIGHTS, check_tuned_for, decoding_for, write_decoding
from mets3d.inference.ensemble import Member, load_members
from mets3d.inference.outputs import SUMMARY
from mets3d.models.weights import save_weights
from mets3d.release import bundle, card, onnx
from mets3d.rundir import RunDir, open_run
from mets3d.statistics.cohort import cohort_table
from mets3d.statistics.score_table import read_scores

# Every setting that is free text can hold a folder, a person or a project, and prediction needs none of them.
PRIVATE = ("output", "weights", "data.store", "model.vit_pretrained", "track.project")
# Of decoding.json what names no case.
TUNED = (WEIGHTS, "objective", "rules", "scores", "cross_validation_folds", "grid")
NO_SCORES = Path("none")


@dataclass(frozen=True)
class Exported:
    """What was written, and what its author should know."""

    folder: Path
    remarks: list[str] = field(default_factory=list)


def export(
    run_path: Path,
    out: Path,
    *,
    name: str | None = None,
    license_id: str | None = None,
    dataset: str | None = None,
    scores: Path | None = None,
    with_onnx: bool = False,
    with_bundle: bool = False,
) -> Exported:
    """Writes the folder OUT, whole or not at all.

    name: the model's, by default the run's. license_id: of the weights, as the hub writes it (`cc-by-4.0`); None says
    in the card that none was chosen. dataset: what the scored cases are called in the card. scores: a table of `mets3d
    evaluate`, by default the run's own where it has one; `none` leaves scores out.

    Raises FileNotFoundError or ValueError, and leaves nothing behind, for a run that is not whole, weights of another
    network, an OUT that is there, a licence or name of another form, scores of cases that the run was trained on or of
    other weights, and what ONNX export lacks or cannot do.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; name a folder to be made")
    _check_words(license_id, name, dataset)
    if with_onnx:
        onnx.check_packages()
    run = open_run(run_path, needs=("config", "plan", "weights"))
    member = load_members([run_path])[0]
    config = _public(member.config, name)
    decoding = _decoding(run, member)
    rows, caveats = _scores(run, member, scores)
    remarks = list(caveats)
    if license_id is None:
        remarks.append("no --license given: the card says that none was chosen, so nobody may use the weights yet")
    with replacing(out) as temporary:
        temporary.mkdir(parents=True)
        exported = RunDir(temporary)
        write_text(exported.config, to_yaml(config))
        write_json(exported.plan, _plan(member))
        save_weights(load_file(run.weights), exported.weights)
        if decoding is not None:
            settings, about = decoding
            if WEIGHTS in about:  # the same tensors, but another tool's header need not be ours
                about |= {WEIGHTS: hashlib.sha256(Path(exported.weights).read_bytes()).hexdigest()}
            write_decoding(exported.decoding, settings, about)
        if with_onnx:
            deviation = onnx.write_onnx(member, temporary / card.ONNX)
            remarks.append(f"{card.ONNX} gives PyTorch's probabilities within {deviation:.1e}, by onnxruntime")
        if with_bundle:
            bundle.write_bundle(member, temporary, name=config.name, license_id=license_id)
        text = card.model_card(
            run,
            member,
            folder=exported,
            name=config.name,
            license_id=license_id,
            dataset=dataset,
            scores=rows,
            caveats=caveats,
        )
        write_text(temporary / card.CARD, text)
    return Exported(out, remarks)


def _check_words(license_id: str | None, name: str | None, dataset: str | None) -> None:
    if license_id is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", license_id):
        raise ValueError(
            f"--license {license_id!r}: expected an identifier in the hub's spelling, such as cc-by-4.0, cc-by-nc-4.0, "
            "apache-2.0 or other"
        )
    if name is not None and (not re.fullmatch(r"[\w.+-]+", name) or name in (".", "..")):
        raise ValueError(f"--name {name!r}: expected letters, digits and . + - _ alone")
    if dataset is not None and not (dataset.isprintable() and dataset.strip()):
        raise ValueError(f"--dataset {dataset!r}: expected words on one line, such as 'BraTS-METS 2023'")


# ---------------------------------------------------------------- what leaves the house


def _public(config: Config, name: str | None) -> Config:
    """The configuration with every free text but the name as it is by default."""
    tree = as_dict(config)
    for key, default, _ in leaves():
        if key in PRIVATE:
            *sections, last = key.split(".")
            place = tree
            for section in sections:
                place = place[section]
            place[last] = default
    return validate(tree | ({} if name is None else {"name": name}), [])


def _plan(member: Member) -> dict[str, Any]:
    """What prediction reads of the plan; the cases that it was made of are not told."""
    return {**asdict(member.plan), "normalisation": NORMALISATION, "cavity": member.target.cavity}


def _decoding(run: RunDir, member: Member) -> tuple[Any, dict[str, Any]] | None:
    """The run's tuned decoding and how it was chosen, with the number of cases in place of their names."""
    if not run.decoding.exists():
        return None
    check_tuned_for(run.decoding, [member.weights_sha256], otherwise="remove the file")
    decoding = decoding_for(member.target, member.config.predict, run.decoding)
    about = read_object(run.decoding, may={"cases": _CASES})
    told = {key: about[key] for key in TUNED if key in about}
    cases = about.get("cases")
    return decoding, told | ({} if cases is None else {"cases": cases if isinstance(cases, int) else len(cases)})


_CASES = Kind("a list of names, or their number", lambda value: NAMES.fits(value) or COUNT.fits(value))


# ---------------------------------------------------------------- scores


def _scores(run: RunDir, member: Member, asked: Path | None) -> tuple[list[Row], list[str]]:
    """The cohort's numbers, none where there are none, and what is odd about them.

    Raises ValueError if they are not those of this network on cases that it was not trained on.
    """
    if asked == NO_SCORES or (asked is None and not run.scores.exists()):
        return [], []
    file = Path(run.scores) if asked is None else asked
    rows = read_scores(file)
    trained_on = set(read_object(run.split, {"training": NAMES})["training"]) if run.split.exists() else set()
    seen = {row["case"] for row in rows} & trained_on
    if seen:
        raise ValueError(
            f"{file} holds scores of {len(seen)} cases that the run was trained on, which say nothing about new ones; "
            f"evaluate what `mets3d predict {run.path} DATA --held-out` writes, name another table with --scores, or "
            "leave them out with --scores none"
        )
    summary = Path(run.predictions) / SUMMARY
    if asked is not None or not summary.exists():
        return cohort_table(rows), []
    told = read_object(summary, may={WEIGHTS: TEXT, "members": OBJECTS, "decoding": OBJECT})
    made_by = {made[WEIGHTS] for made in (told, *told.get("members", [])) if WEIGHTS in made}
    if made_by - {member.weights_sha256}:
        raise ValueError(
            f"{file}: {summary} tells of other weights than {run.weights}, most likely older ones; predict and "
            "evaluate again, name another table with --scores, or leave the scores out with --scores none"
        )
    own = decoding_for(member.target, member.config.predict, run.decoding if run.decoding.exists() else None)
    otherwise = told.get("decoding", {}) not in ({}, {name: asdict(setting) for name, setting in own.items()})
    remark = "the scores are of predictions that were decoded with other thresholds than those exported here"
    return cohort_table(rows), [remark] if otherwise else []
