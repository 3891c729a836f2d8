"""Makes an exported folder a MONAI bundle: MONAI's transforms and windows around our network and decoding.

`configs/inference.json` refers to `model.safetensors` and to the functions below by name, so mets3d must be installed
where the bundle runs, and no second copy of the weights is needed. Windows lie elsewhere than ours and resampling is
MONAI's, so labels agree with `mets3d predict` closely and not to the voxel; where a case has the plan's spacing and is
no larger than a patch, they are equal.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mets3d import __version__
from mets3d.config import Config
from mets3d.data.cases import find_cases
from mets3d.data.channels import compose
from mets3d.data.normalise import Normalisation
from mets3d.data.plan import Plan, read_plan
from mets3d.files import write_json, write_text
from mets3d.inference.decoding import decode
from mets3d.inference.decoding_settings import Decoding, decoding_for
from mets3d.inference.members import Member
from mets3d.inference.windows import SIGMA
from mets3d.regions import Target
from mets3d.release.tensor_network import z_score
from mets3d.rundir import ExportDir, open_run, scan_name
from mets3d.settings.channels import sequences_of

HERE = "mets3d.release"


def check_plan(plan: Plan) -> None:
    """Raises ValueError for a preparation that MONAI's transforms cannot do."""
    if plan.spacing_mm == "in_plane" or plan.intensities != Normalisation() or plan.brain != "nonzero":
        found = "voxels in each case's own plane" if plan.spacing_mm == "in_plane" else plan.normalisation
        found = f"preprocess.brain: {plan.brain}" if plan.brain != "nonzero" else found
        raise ValueError(
            "--bundle: MONAI's transforms make voxels of one size and z-scores of stripped brains, this run has "
            f"{found}; leave out --bundle. The folder then predicts with mets3d"
        )


def write_bundle(member: Member, folder: ExportDir, *, name: str, license_id: str | None) -> None:
    """Adds `configs/metadata.json`, `configs/inference.json` and `LICENSE` to an exported folder."""
    write_json(folder.bundle_metadata, _metadata(member, name, license_id))
    write_json(folder.bundle_inference, _inference(member))
    chosen = f"under {license_id}" if license_id else "under no licence yet; nobody may use them until one is chosen"
    write_text(folder.licence, f"The weights in this folder are {chosen}. See README.md.\n")


def _metadata(member: Member, name: str, license_id: str | None) -> dict[str, Any]:
    config, target = member.config, member.target
    window = {"spatial_shape": list(config.data.patch), "dtype": "float32", "is_patch_data": True}
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "num_channels": len(member.plan.sequences),
        **window,
        "value_range": [],
        "channel_def": {str(index): sequence for index, sequence in enumerate(member.plan.sequences)},
    }
    probabilities = {
        "type": "probabilities",
        "format": "segmentation",
        "num_channels": target.channels,
        **window,
        "value_range": [0, 1],
        "channel_def": {str(index): channel for index, channel in enumerate(target.names)},
    }
    version = importlib.metadata.version
    return {
        "version": __version__,
        "changelog": {__version__: "exported by mets3d"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"mets3d": __version__, "nibabel": version("nibabel")},
        "name": name,
        "task": "Segmentation of brain metastases in MRI",
        "description": f"{len(member.plan.sequences)} channels of MR to the regions of BraTS-METS; see README.md",
        "authors": "whoever published these weights",
        "copyright": f"weights: {license_id or 'no licence chosen yet'}, see README.md",
        "intended_use": "research only; not a medical device",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": probabilities}},
    }


def _inference(member: Member) -> dict[str, Any]:
    config, plan = member.config, member.plan
    loading: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        {
            "_target_": "CropForegroundd",
            "keys": "image",
            "source_key": "image",
            "select_fn": "$bundle.is_brain",
            "margin": plan.margin_voxels,
            "allow_smaller": True,
        },
        {"_target_": "Spacingd", "keys": "image", "pixdim": plan.as_json()["spacing_mm"], "mode": "bilinear"},
        {"_target_": "Lambdad", "keys": "image", "func": _normalising(plan.sequences)},
    ]
    inverting = {"keys": "pred", "transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False}
    writing = {"output_dir": "@output_dir", "output_postfix": "", "separate_folder": False, "print_log": False}
    return {
        "imports": [f"$import {HERE}.bundle as bundle", f"$from {HERE} import tensor_network", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "cases",
        "output_dir": "predictions",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": {"_target_": f"{HERE}.tensor_network.tensor_network", "folder": "@bundle_root"},
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": loading},
        "dataset": {
            "_target_": "Dataset",
            "data": "$bundle.cases(@dataset_dir, @bundle_root)",
            "transform": "@preprocessing",
        },
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(config.data.patch),
            "sw_batch_size": config.predict.window_batch,
            "overlap": config.predict.overlap,
            "mode": "gaussian",
            "sigma_scale": SIGMA,
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Invertd", **inverting},
                {"_target_": "Lambdad", "keys": "pred", "func": "$bundle.decoder(@bundle_root)"},
                {"_target_": "SaveImaged", "keys": "pred", **writing, "dtype": "uint8", "output_dtype": "uint8"},
            ],
        },
        "run": ["$bundle.segment(@dataset, @network, @inferer, @postprocessing, @device)"],
    }


def _normalising(channels: Sequence[str]) -> str:
    """Returns the expression of the function from the sequences of a case to the channels of the network."""
    if sequences_of(channels) == tuple(channels):
        return "$tensor_network.z_score"
    return f"$bundle.channels_of({list(channels)!r})"


# ---------------------------------------------------------------- called by the configuration


def cases(data: str | Path, folder: str | Path) -> list[dict[str, Any]]:
    """Lists the cases below `data` as MONAI's Dataset wants them: name, and the files of the plan's sequences."""
    sequences = sequences_of(read_plan(open_run(Path(folder)).plan).sequences)
    found = find_cases(Path(data))
    return [{"name": case.name, "image": [str(case.sequences[name].path) for name in sequences]} for case in found]


def channels_of(channels: Sequence[str]) -> Callable[[Any], Any]:
    """Makes the function from a case's sequences [S, X, Y, Z] to these channels: z-scored, or differences of two."""
    return partial(_composed, channels=tuple(channels))


def _composed(image: Any, *, channels: tuple[str, ...]) -> Any:
    """Replaces the voxels of a MetaTensor, which keeps its meta data."""
    from monai.data import MetaTensor

    normal = z_score(image)
    volumes = dict(zip(sequences_of(channels), np.asarray(normal, np.float16), strict=True))
    made = torch.from_numpy(compose(volumes, channels).astype(np.float32))
    return MetaTensor(made, meta=image.meta, applied_operations=image.applied_operations)


def is_brain(image: Float[Tensor, "C X Y Z"]) -> Bool[Tensor, "C X Y Z"]:
    """Returns where a sequence is not zero, small negative values included."""
    return image != 0


def segment(
    dataset: Any,
    network: nn.Module,
    inferer: Callable[..., Tensor],
    postprocessing: Callable[[dict[str, Any]], Any],
    device: torch.device,
) -> None:
    """Predicts the cases of a `monai.data.Dataset`, one after the other; `postprocessing` writes the label map."""
    for case in dataset:
        image = case["image"]
        image.meta["filename_or_obj"] = scan_name(case["name"])  # what Invertd hands on and the file is named after
        with torch.inference_mode():
            answer = inferer(image[None].to(device), network)[0].cpu().clone()
        postprocessing({**case, "pred": answer})


def decoder(folder: str | Path) -> Callable[[Any], Any]:
    """Makes the function from probabilities [R, X, Y, Z] of a case to labels [1, X, Y, Z], by the folder's decoding."""
    run = open_run(Path(folder))
    config: Config = run.load_config()
    target = Target(config.data.target, config.data.cavity)
    decoding = decoding_for(target, config.predict, run.decoding if run.decoding.exists() else None)
    return partial(_decoded, target=target, decoding=decoding)


def _decoded(probabilities: Any, *, target: Target, decoding: Decoding) -> Any:
    """Decodes a MetaTensor to one with the same meta data."""
    from monai.data import MetaTensor

    channels = np.clip(np.asarray(probabilities.cpu(), np.float32), 0, 1)
    labels = decode(list(channels), target, decoding, probabilities.pixdim.tolist()).labels
    return MetaTensor(torch.from_numpy(labels)[None], meta=probabilities.meta)
