"""Imports an original 3D TransUNet checkpoint as a run directory, ready to predict or to start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mets3d.config import Config, Model, to_yaml
from mets3d.data.plan import Plan, write_plan
from mets3d.files import replacing, write_text
from mets3d.models.originals.transunet import from_original, read_checkpoint, settings
from mets3d.models.weights import save_weights
from mets3d.regions import Target
from mets3d.rundir import RunDir
from mets3d.settings.channels import SEQUENCES

SPACING_MM = (1.0, 1.0, 1.0)  # the original resamples BraTS to 1 mm


def write_run(
    file: Path,
    out: Path,
    *,
    patch: tuple[int, int, int],
    layer_scale: Literal["off", "correct", "reference"] = "reference",
    target: Literal["regions", "labels"] = "regions",
    sequences: Sequence[str] = SEQUENCES,
) -> Path:
    """Makes a run directory of the checkpoint's network, its weights and the plan that its training implies.

    `sequences` are its input channels in their order; classes must be the project's: WT, TC, ET, or background and
    three labels. Raises ValueError for a file that is no such checkpoint, and FileExistsError if `out` is there.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; name a folder to be made")
    network = from_original(read_checkpoint(file), patch=patch, layer_scale=layer_scale, target=target)
    channels, inputs = Target(target).channels, network.arguments["in_channels"]
    if network.arguments["channels"] != channels:
        raise ValueError(
            f"{file}: expected {channels} classes for target {target}, found {network.arguments['channels']}; is "
            "--target right?"
        )
    if inputs != len(sequences):
        raise ValueError(
            f"{file}: expected {len(sequences)} input channels ({', '.join(sequences)}), found {inputs}; name them "
            "with --sequences in the order in which the network was trained"
        )
    config = Config.model_validate(
        {
            "name": out.name,
            "output": str(out.parent),
            "data": {"patch": patch, "target": target, "sequences": tuple(sequences)},
            "model": Model(**settings(network)).model_dump(),
        }
    )
    with replacing(out) as temporary:
        temporary.mkdir(parents=True)
        run = RunDir(temporary)
        write_text(run.config, to_yaml(config))
        write_plan(run.plan, Plan(tuple(sequences), SPACING_MM, margin_voxels=0, imported_from=file.name))
        save_weights({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, run.weights)
    return out
