"""Exports a run as a folder to share: the files that prediction needs and a model card, no private names.

OUT/
    model.safetensors   the weights
    config.yaml         the configuration, without folders and accounts
    plan.json           what preprocessing does
    decoding.json       thresholds and component limits, if the run was tuned
    README.md           the model card
    labels_3d_slicer.ctbl, labels_itk_snap.txt   names and colours of the labels, for these viewers
    model.onnx          on request: the network for one window
    configs/, LICENSE   on request: what makes the folder a MONAI bundle

`mets3d.Predictor.from_pretrained(OUT)` and `mets3d predict OUT DATA PREDICTIONS` take it, and so does the hub.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from safetensors.torch import load_file

from mets3d.config import to_yaml
from mets3d.files import replacing, sha256_of, write_json, write_text
from mets3d.inference.colour_tables import write_colour_tables
from mets3d.inference.decoding_settings import WEIGHTS, write_decoding
from mets3d.inference.members import Member, load_members
from mets3d.models.weights import save_weights
from mets3d.release import bundle, card, onnx
from mets3d.release.public import public_config, public_decoding, public_scores
from mets3d.rundir import ExportDir, RunDir, open_run


@dataclass(frozen=True)
class Exported:
    """The folder that was written, and remarks for its author."""

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
    """Writes the folder OUT, completely or not at all.

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
    if with_bundle:
        bundle.check_plan(member.plan)
    config = public_config(member.config, name)
    public = public_scores(run, member, scores)
    remarks = list(public.caveats)
    if license_id is None:
        remarks.append("no --license given: the card says that none was chosen, so nobody may use the weights yet")
    with replacing(out) as temporary:
        temporary.mkdir(parents=True)
        folder = ExportDir(temporary)
        write_text(folder.config, to_yaml(config))
        remarks += _write_needed(folder, run, member)
        write_colour_tables(folder, member.target)
        if with_onnx:
            deviation = onnx.write_onnx(member, folder.onnx)
            remarks.append(f"{folder.onnx.name} gives PyTorch's probabilities within {deviation:.1e}, by onnxruntime")
        if with_bundle:
            bundle.write_bundle(member, folder, name=config.name, license_id=license_id)
        about = card.About(config.name, license_id, dataset)
        write_text(folder.card, card.model_card(run, member, folder, about, public))
    return Exported(out, remarks)


def _write_needed(folder: ExportDir, run: RunDir, member: Member) -> list[str]:
    """Writes the plan, the weights and, of a tuned run, the decoding. Says where that was forced."""
    decoding = public_decoding(run, member)
    write_json(folder.plan, replace(member.plan, cavity=member.target.cavity).as_public_json())
    save_weights(load_file(run.weights), folder.weights)
    if decoding is not None:
        settings, how = decoding
        if WEIGHTS in how:  # the same tensors, but another tool's header need not be ours
            how |= {WEIGHTS: sha256_of(folder.weights)}
        write_decoding(folder.decoding, settings, how)
        if how.get("forced"):
            return [f"{folder.decoding.name} was forced for {', '.join(how['forced'])}, against cross-validation"]
    return []


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
