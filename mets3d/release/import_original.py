"""Imports an original 3D TransUNet checkpoint as a run directory, ready to predict or to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mets3d.config import Config, Model, to_yaml
from mets3d.data.cases import SEQUENCES
from mets3d.data.plan import Plan, write_plan
from mets3d.files import replacing, write_text
from mets3d.models.originals.transunet import from_original, read_checkpoint, settings
from mets3d.models.weights import save_weights
from mets3d.regions import Target
from mets3d.rundir import RunDir

SPACING_MM = (1.0, 1.0, 1.0)  # the original resamples BraTS to 1 mm


def write_run(
    file: Path,
    out: Path,
    *,
    patch: tuple[int, int, int],
    layer_scale: Literal["off", "correct", "reference"] = "reference",
    target: Literal["regions", "labels"] = "regions",
) -> Path:
    """Makes a run directory of the checkpoint's network, its weights and the plan that its training implies.

    Channels must be t1n, t1c, t2w, t2f, and classes the project's: WT, TC, ET, or background and three labels. Raises
    ValueError for a file that is no such checkpoint, and FileExistsError if `out` is there.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; name a folder to be made")
    network = from_original(read_checkpoint(file), patch=patch, layer_scale=layer_scale, target=target)
    channels, sequences = Target(target).channels, network.arguments["in_channels"]
    if (network.arguments["channels"], sequences) != (channels, len(SEQUENCES)):
        raise ValueError(
            f"{file}: expected {len(SEQUENCES)} input channels and {channels} classes for target {target}, found "
            f"{sequences} and {network.arguments['channels']}; is --target right?"
        )
    config = Config.model_validate(
        {
            "name": out.name,
            "output": str(out.parent),
            "data": {"patch": patch, "target": target},
            "model": Model(**settings(network)).model_dump(),
        }
    )
    with replacing(out) as temporary:
        temporary.mkdir(parents=True)
        run = RunDir(temporary)
        write_text(run.config, to_yaml(config))
        write_plan(run.plan, Plan(SEQUENCES, SPACING_MM, margin_voxels=0, imported_from=file.name))
        save_weights({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, run.weights)
    return out
