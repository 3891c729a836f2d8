"""The model card of an exported folder: YAML that the Hugging Face hub reads, then what a person should know."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from mets3d import __version__
from mets3d.config import Config
from mets3d.data.patients import patient_of
from mets3d.evaluation.scores import Score
from mets3d.evaluation.tables import Row
from mets3d.files import NAMES, OBJECT, read_object
from mets3d.inference.decoding_plan import FORCED, OUT_OF_FOLD, decoding_plan
from mets3d.inference.decoding_settings import RegionDecoding, decoding_for
from mets3d.inference.members import Member
from mets3d.log_names import SCORES
from mets3d.regions import LABEL_NAMES, Target
from mets3d.release.public import PublicScores
from mets3d.rundir import ExportDir, RunDir
from mets3d.settings.channels import sequences_of
from mets3d.statistics.cohort import numbers_shown_in
from mets3d.statistics.intervals import FEWEST_PATIENTS
from mets3d.training.selection import all_choose
from mets3d.wording import counted

MODES = {
    "cnn": "a plain convolutional U-Net",
    "encoder": "3D TransUNet with a ViT at the bottleneck",
    "decoder": "3D TransUNet with a query decoder",
    "both": "3D TransUNet with a ViT at the bottleneck and a query decoder",
}
MEANING = {"t1n": "T1", "t1c": "T1 with contrast", "t2w": "T2", "t2f": "T2-FLAIR"}
NO_LICENSE = {"license": "other", "license_name": "none-chosen-yet"}


@dataclass(frozen=True)
class About:
    """What the author says of the model: its name, the licence of its weights, and how the scored cases are called."""

    name: str
    license_id: str | None
    dataset: str | None


def model_card(
    run: RunDir,
    member: Member,
    folder: ExportDir,
    about: About,
    scores: PublicScores,
) -> str:
    """Returns the card's text; of the run's cases it has only counts. `folder` is what was exported so far."""
    numbers = numbers_shown_in("card")
    shown = [row for row in scores.rows if row["score"] in numbers and row["mean"] is not None]
    data = about.dataset or "held-out cases of the training data set"
    front = _front(member, about, data, shown)
    sections = [
        f"# {about.name}",
        _what(member),
        "## Use and limits\n\n" + LIMITS,
        "## Licence\n\n" + _license(about.license_id),
        "## Input\n\n" + _input(member),
        "## Output\n\n" + _output(member, folder),
        "## How to load it\n\n" + _loading(about.name, member, folder),
        "## Training\n\n" + _training(run, member),
        "## Scores\n\n" + _scores(shown, data, scores, tuned=folder.decoding.exists()),
        "## To cite\n\n" + CITATION,
        "## Versions\n\n" + _versions(run),
    ]
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n" + "\n\n".join(sections) + "\n"


# ---------------------------------------------------------------- for the hub


def _front(member: Member, about: About, dataset: str, scores: Iterable[Row]) -> dict[str, Any]:
    """Returns the YAML that the hub reads."""
    front: dict[str, Any] = {
        **(NO_LICENSE if about.license_id is None else {"license": about.license_id}),
        "library_name": "mets3d",
        "pipeline_tag": "image-segmentation",
        "tags": ["mets3d", "medical", "mri", "3d", "brain-metastases", "brats", member.config.model.mode],
    }
    metrics = [_metric(row) for row in scores]
    if metrics:
        where = {"type": "mri", "name": dataset}
        task = {"type": "image-segmentation", "name": "brain metastases segmentation"}
        front["model-index"] = [{"name": about.name, "results": [{"task": task, "dataset": where, "metrics": metrics}]}]
    return front


def _metric(row: Row) -> dict[str, Any]:
    about = {"region": row["region"], "rules": row["rules"], "cases": row["cases"]}
    if row["ci_low"] is not None:
        about["interval_95"] = [round(float(row[end]), 4) for end in ("ci_low", "ci_high")]
    name = f"{row['region']} {_named(numbers_shown_in('card')[row['score']])}"
    return {"type": row["score"], "name": name, "value": round(float(row["mean"]), 4), "args": about}


# ---------------------------------------------------------------- for people

LIMITS = """\
For research on the segmentation of brain metastases. **Not a medical device**: it was not made, tested or approved for
diagnosis, treatment planning or any other clinical decision, and nothing below shows that it is fit for one.

It can miss lesions, small ones most of all, and find some that are not there. It expects skull-stripped, co-registered
scans of patients like those that it was trained on; other scanners, sequences, diseases, ages or preprocessing may
change the answer in ways that no score here shows. Look at every result."""

CITATION = """\
- The network: Chen et al., 3D TransUNet, arXiv 2310.07781.
- The task, its labels and its scores: Moawad et al., BraTS-METS 2023, arXiv 2306.00838.
- Whoever gave you this model, and the data that it was trained on, as their licences ask."""


def _what(member: Member) -> str:
    config = member.config
    parameters = sum(parameter.numel() for parameter in member.network.parameters())
    regions = ", ".join(region.name for region in member.target.regions)
    return (
        f"Brain metastases in 3D MRI, voxel by voxel, as the regions {regions} of BraTS-METS: whole tumour (WT), "
        f"tumour core (TC), enhancing tumour (ET){', resection cavity (RC)' * member.target.cavity}. The network is "
        f"{MODES[config.model.mode]}, {parameters / 1e6:.1f} million parameters, made and run with mets3d."
    )


def _license(license_id: str | None) -> str:
    code = "The code that runs them, mets3d, is under Apache-2.0, which says nothing about these weights."
    if license_id is None:
        return (
            "**None was chosen yet.** Whoever publishes these weights decides on their licence, within what the terms "
            f"of the training data allow (`mets3d export --license ID`). Until then nobody may use them. {code}"
        )
    return f"These weights are published under `{license_id}`, chosen by whoever published them. {code}"


def _input(member: Member) -> str:
    plan = member.plan
    spacing = (
        "the case's own voxels, slices divided to at most 1"
        if plan.spacing_mm == "in_plane"
        else " x ".join(f"{side:g}" for side in plan.spacing_mm)
    )
    sequences = sequences_of(plan.sequences)
    named = ", ".join(f"{name} ({MEANING[name]})" if name in MEANING else name for name in sequences)
    around = f" and {counted(plan.margin_voxels, 'voxel')} around it" if plan.margin_voxels else ""
    several = (
        f"{len(sequences)} co-registered, skull-stripped MR sequences" if len(sequences) > 1 else "One MR sequence"
    )
    channels = "" if sequences == plan.sequences else f", of which it makes the channels {', '.join(plan.sequences)}"
    return (
        f"{several} of one patient on one grid, in this order: {named}{channels}. Intensities are the scanner's "
        "arbitrary units as they are in the files, 0 outside the brain; any orientation and voxel size. mets3d does "
        "the rest: RAS+ axes, crop to the brain"
        f"{around}, resampling to {spacing} mm, "
        f"{plan.normalisation}; `plan.json` says so too. The network itself sees windows of "
        f"{' x '.join(map(str, member.config.data.patch))} voxels."
    )


def _output(member: Member, folder: ExportDir) -> str:
    target: Target = member.target
    labels = ", ".join(f"{label} {LABEL_NAMES[label]}" for label in target.labels[1:])
    kind = f"one probability a {'region, overlapping' if target.kind == 'regions' else 'label, exclusive'}"
    tuned = folder.decoding if folder.decoding.exists() else None
    rows = decoding_for(target, member.config.predict, tuned)
    default = "the same for all regions" if tuned is None else "chosen on held-out cases (`decoding.json`)"
    if tuned is not None and (forced := decoding_plan(target, member.config.predict, tuned).forced):
        default += f", for {', '.join(forced)} against cross-validation, which does not support it"
    text = (
        f"A label map on the case's own grid ({labels}), with {kind} ({', '.join(target.names)}), an uncertainty map "
        f"and a table of the predicted lesions. Decoding settings, {default}:"
    )
    table = [
        "| region | threshold | peak above | from mm3 | largest only | fill holes |",
        "|---|---|---|---|---|---|",
        *(f"| {name} | {' | '.join(_cells(setting))} |" for name, setting in rows.items()),
    ]
    viewers = (
        f"`{folder.slicer_table.name}` has names and colours of the labels for 3D Slicer, "
        f"`{folder.itk_snap_table.name}` for ITK-SNAP; predictions have both beside them."
    )
    return "\n".join([text, "", *table, "", viewers])


def _cells(setting: RegionDecoding) -> list[str]:
    values: Mapping[str, Any] = asdict(setting)
    words = {None: "-", True: "yes", False: "no"}
    return [words[value] if value is None or isinstance(value, bool) else f"{value:g}" for value in values.values()]


def _loading(name: str, member: Member, folder: ExportDir) -> str:
    text = f"""\
With mets3d {__version__} installed, from a copy of this folder or straight from the hub as `organisation/{name}`:

    import mets3d

    predictor = mets3d.Predictor.from_pretrained("{name}")
    found = predictor.predict_files("DATA/CASE")  # CASE-{{{",".join(sequences_of(member.plan.sequences))}}}.nii.gz
    found.labels, found.probabilities["ET"], found.uncertainty, found.lesions

or, for a whole data set, with a copy of this folder:

    mets3d predict {name} DATA PREDICTIONS"""
    if folder.onnx.exists():
        patch, channels = ", ".join(map(str, member.config.data.patch)), ", ".join(member.target.names)
        text += (
            f"\n\n`{folder.onnx.name}` is the network alone: `image` [1, {len(member.plan.sequences)}, {patch}], "
            f"prepared as above, to `probabilities` [1, {member.target.channels}, {patch}] ({channels}), fp32."
        )
    if folder.bundle.exists():
        text += (
            "\n\nThe folder is a MONAI bundle as well; with mets3d and `fire` installed:\n\n"
            "    python -m monai.bundle run --config_file configs/inference.json --dataset_dir DATA --output_dir OUT"
        )
    return text


def _training(run: RunDir, member: Member) -> str:
    return "\n".join(f"- {line}" for line in _training_lines(run, member.config))


def _training_lines(run: RunDir, config: Config) -> Iterator[str]:
    if run.split.exists():
        split = read_object(run.split, {"training": NAMES, "validation": NAMES}, {"patients": OBJECT})
        known = split.get("patients", {})
        counts = [
            f"{counted(len(split[part]), 'case')} of {counted(_patients(split[part], known), 'patient')}"
            for part in ("training", "validation")
        ]
        where = f"fold {split['fold']} of {split['folds']}"
        if config.data.inner_folds is not None:
            where = f"one of {config.data.inner_folds} parts of the cases that {where} trains on"
        yield f"Data: {counts[0]} to train on, {counts[1]} held out ({where})."
        yield _chosen_by(config, len(split["validation"]))
    else:
        yield "Data: not known, for the run has no record of it: imported weights, or a model exported before."
        return
    most = "At most " if config.validate_.patience is not None else ""
    averaged = f", weights averaged with decay {config.optim.ema:g}" if config.optim.ema is not None else ""
    batch = config.train.batch_size
    yield (
        f"{most}{counted(config.train.steps, 'optimizer step')} of {counted(batch, 'sample')}, "
        f"{config.optim.name}{averaged}."
    )
    parts = ["Dice", "cross-entropy", *["the query loss"] * (config.model.has_queries)]
    boundary = config.loss.boundary
    yield f"Loss: {', '.join([*parts, *[f'the boundary term {boundary}'] * (boundary != 'none')])}."
    if config.model.vit_pretrained is not None:
        yield "The ViT started from weights pretrained on natural images."
    if config.weights is not None:
        yield "The training started from other weights."


def _chosen_by(config: Config, held_out: int) -> str:
    """Says by which score, and on how many of the held-out cases, the weights were chosen."""
    settings = config.validate_
    cases = held_out if settings.cases is None or all_choose(config) else settings.cases
    some = f"{cases} of " if cases < held_out else ""
    return (
        f"The weights are those of the validated step with the best mean {SCORES[settings.best_by]} on "
        f"{some}the held-out cases by the rule set {settings.rules}, so scores on the same cases are a little "
        "optimistic."
    )


def _patients(cases: Sequence[str], known: Mapping[str, str]) -> int:
    return len({known.get(case) or patient_of(case) for case in cases})


def _scores(rows: Sequence[Row], dataset: str, scores: PublicScores, *, tuned: bool) -> str:
    if not rows:
        return "None were given."
    rules = ", ".join(dict.fromkeys(row["rules"] for row in rows))
    regions = list(dict.fromkeys(row["region"] for row in rows))
    cells = {(row["region"], row["score"]): row for row in rows}
    shown = [score for name, score in numbers_shown_in("card").items() if any((r, name) in cells for r in regions)]
    what = (
        f"Rule set {rules} on {dataset}: means over cases with 95 % intervals over patients (none below "
        f"{FEWEST_PATIENTS} patients), and the number of cases that have a value."
        f"{_decoding(scores.decoding)}"
    )
    lines = [
        what,
        "",
        f"| score | {' | '.join(regions)} |",
        f"|---|{'---|' * len(regions)}",
        *(
            f"| {_named(score)} | {' | '.join(_cell(cells.get((r, score.column)), score) for r in regions)} |"
            for score in shown
        ),
    ]
    remarks = list(scores.caveats)
    if tuned and not scores.decoding:
        remarks.append("the decoding was chosen on held-out cases; on those very cases its scores are optimistic")
    return "\n".join([*lines, *(f"\n{remark[0].upper()}{remark[1:]}." for remark in remarks)])


def _decoding(words: str) -> str:
    """Says how the scored cases were decoded; nothing where that is not known."""
    if not words:
        return ""
    meaning = (
        " (each case by settings chosen without its patient)"
        if words.removeprefix(FORCED).startswith(OUT_OF_FOLD)
        else ""
    )
    return f" Decoding: {words}{meaning}."


def _named(score: Score) -> str:
    """Returns a score's name as within a sentence, with its unit; here scores of the whole volume go without saying."""
    name = score.name.removeprefix("Whole-volume ")
    name = name if name != score.name else name[0].lower() + name[1:]
    return f"{name}, {score.unit}" if score.unit else name


def _cell(row: Row | None, score: Score) -> str:
    if row is None:
        return "-"
    digits = score.digits if score.card_digits is None else score.card_digits
    around = "" if row["ci_low"] is None else f" [{row['ci_low']:.{digits}f}, {row['ci_high']:.{digits}f}]"
    return f"{row['mean']:.{digits}f}{around}, n {row['cases']}"


def _versions(run: RunDir) -> str:
    packages = ("mets3d", "python", "torch", "accelerate", "monai")
    versions = read_object(run.environment) if run.environment.exists() else {}
    trained = ", ".join(f"{package} {versions[package]}" for package in packages if versions.get(package))
    exported = f"mets3d {__version__}, torch {importlib.metadata.version('torch')}"
    return (f"Trained with {trained}. " if trained else "") + f"Exported with {exported}."
