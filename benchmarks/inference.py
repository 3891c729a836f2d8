"""What prediction costs besides the network: our pipeline beside nnU-Net's, for the same case and tiles.

    .venv/bin/python -m pip install --no-deps -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/inference.py [--rounds 5] [--quick]

The case is a phantom of 240x240x155 voxels with a brain of about 135x168x133, tiles of 128^3 at half overlap, one
thread. The network copies three channels of its input; the time spent inside it is taken off. Steps:

    read and prepare    four files -> cropped, z-scored array
    tiles               array -> probabilities (nnU-Net: logits), without and with all 8 mirrored copies
    labels              -> label map on disk (ours: also uncertainty map and lesion table)
    probabilities       -> the same and probabilities on disk, compressed

nnU-Net averages logits and takes the sigmoid in the export; here `SegOutput.probabilities` is what the network answers
and what is averaged, so its sigmoid belongs to the forward pass. Two rows count it as overhead instead. Writes
benchmarks/results/inference.json and prints medians (least - largest) over the rounds and, by round, how many times
less than nnU-Net. `--peak` is for itself: peak memory of `mets3d predict` on a 512x512x176 case with a small network,
in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["nnUNet_def_n_proc"] = "1"
for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(variable, tempfile.gettempdir())

import numpy as np
import torch
from rounds import MIB, peak_in_subprocess, print_table, ratios, resident_bytes, round_robin, save, shown, spread
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from mets3d.config import Config, to_yaml
from mets3d.data.cases import SEQUENCES, Case, find_cases
from mets3d.data.nifti import read_labels, write_labels
from mets3d.data.synth import synthesise
from mets3d.inference.decoding import RegionDecoding, decode
from mets3d.inference.ensemble import Channels, Part
from mets3d.inference.outputs import write_case
from mets3d.inference.predict import predict
from mets3d.inference.predictor import read_case
from mets3d.inference.sliding import window_probabilities
from mets3d.models import build
from mets3d.models.saved import save_weights
from mets3d.regions import Target
from mets3d.rundir import RunDir, write_json, write_text
from mets3d.shapes import SegOutput

OURS, THEIRS = "mets3d", "nnU-Net"
PATCH = (128, 128, 128)
LARGE = (512, 512, 176)
TARGET = Target()
DECODING = {region.name: RegionDecoding() for region in TARGET.regions}
STEPS = {
    "read and prepare": ("prepare",),
    "tiles": ("tiles",),
    "tiles, 8 mirrored copies": ("tiles mirrored",),
    "tiles, the sigmoid counted": ("tiles with sigmoid",),
    "tiles, 8 copies, the sigmoid counted": ("tiles mirrored with sigmoid",),
    "label map": ("label map",),
    "label map, uncertainty, lesions": ("labels",),
    "labels and probabilities": ("probabilities",),
    "all: prepare, tiles, label map": ("prepare", "tiles", "label map"),
    "all with 8 copies": ("prepare", "tiles mirrored", "label map"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round, nothing saved")
    parser.add_argument("--peak", metavar="NAME", help="for itself")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        print(peak_of_predict())
        return
    with tempfile.TemporaryDirectory() as scratch:
        overhead(Path(scratch), options)
    print_peak(options)


def overhead(scratch: Path, options: argparse.Namespace) -> None:
    synthesise(scratch / "cases", 1, 0)
    case = find_cases(scratch / "cases")[0]
    meter = Meter()
    contestants = {OURS: Ours(case, scratch / "ours", meter)}
    if find_spec("nnunetv2") is None:
        print(f"{THEIRS} is not installed (see above), so nothing is compared and nothing is saved")
    else:
        contestants[THEIRS] = Theirs(case, scratch / "theirs", meter)  # type: ignore[assignment]
    runs = {
        f"{name}: {step}": meter.around(f"{name}: {step}", run)
        for step in dict.fromkeys(step for steps in STEPS.values() for step in steps)
        for name, run in ((name, getattr(rival, step.replace(" ", "_"))) for name, rival in contestants.items())
    }
    measures = round_robin(runs, 1 if options.quick else options.rounds, torch.device("cpu"))
    without = {name: meter.taken_off(name, measured) for name, measured in measures.items()}
    results: dict[str, dict[str, Any]] = {}
    for title, parts in STEPS.items():
        results[title] = {}
        for rival in contestants:
            for clock in ("wall_s", "cpu_s"):
                rounds = [
                    sum(values) for values in zip(*(without[f"{rival}: {part}"][clock] for part in parts), strict=True)
                ]
                results[title].setdefault(rival, {})[clock] = spread(rounds)
        if THEIRS in contestants:
            for clock in ("wall_s", "cpu_s"):
                pair = (results[title][name][clock]["rounds"] for name in (THEIRS, OURS))
                results[title][f"times_less_{clock}"] = ratios(*pair)
    header = [
        "step",
        f"{OURS} wall s",
        f"{THEIRS} wall s",
        "times less",
        f"{OURS} CPU s",
        f"{THEIRS} CPU s",
        "times less",
    ]
    rows = []
    for title, result in results.items():
        row = [title]
        for clock in ("wall_s", "cpu_s"):
            row += [shown(result[name][clock]) if name in result else "-" for name in (OURS, THEIRS)]
            row += [shown(result.get(f"times_less_{clock}"))]
        rows.append(row)
    print_table("Everything but the network, one case, one thread", header, rows)
    if THEIRS in contestants and not options.quick:
        shape = contestants[OURS].loaded.prepared[0].image.shape
        save("inference", "overhead", {"case": {"stored": list(shape), "patch": PATCH}, "steps": results}, CPU)


CPU = torch.device("cpu")


class Meter:
    """Time spent inside the network, by call of a contestant."""

    def __init__(self) -> None:
        self.inside: dict[str, list[tuple[float, float]]] = {}
        self.wall = self.cpu = 0.0

    def around(self, name: str, run: Callable[[], Any]) -> Callable[[], Any]:
        def metered() -> Any:
            self.wall = self.cpu = 0.0
            result = run()
            self.inside.setdefault(name, []).append((self.wall, self.cpu))
            return result

        return metered

    @contextmanager
    def inside_network(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.thread_time()
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += time.thread_time() - cpu

    def copy(self, windows: Tensor) -> Tensor:
        """The network: a copy of three channels of its input."""
        with self.inside_network():
            return windows[:, : TARGET.channels].clone()

    def taken_off(self, name: str, measured: dict[str, list[float]]) -> dict[str, list[float]]:
        inside = self.inside[name][-len(measured["wall_s"]) :]  # without the warm-up
        return {
            clock: [value - taken[index] for value, taken in zip(measured[clock], inside, strict=True)]
            for index, clock in enumerate(("wall_s", "cpu_s"))
        }


class Ours:
    """The steps of `mets3d predict`."""

    def __init__(self, case: Case, out: Path, meter: Meter):
        from mets3d.data.preprocess import prepare

        self.case, self.out, self.meter = case, out, meter
        self.sigmoid_counts = False
        self.preparing: Any = SimpleNamespace(
            sequences=SEQUENCES,
            prepare=lambda images: [
                prepare([images[name] for name in SEQUENCES], None, (1.0, 1.0, 1.0), 0, cavity=False)
            ],
        )
        self.loaded = self.prepare()
        self.total = torch.from_numpy(answers(case, self.loaded.prepared[0].entry.box))

    def prepare(self) -> Any:
        return read_case(self.preparing, self.case)

    def tiles(self, mirror: tuple[int, ...] = ()) -> Tensor:
        image = torch.from_numpy(self.loaded.prepared[0].image)
        return window_probabilities(self.network, image, patch=PATCH, overlap=0.5, window_batch=1, mirror=mirror)

    def network(self, windows: Tensor) -> SegOutput:
        output = SegOutput("sigmoid", logits=self.meter.copy(windows))
        if not self.sigmoid_counts:
            with self.meter.inside_network():
                output.probabilities  # noqa: B018 - kept by the output
        return output

    def tiles_mirrored(self) -> Tensor:
        return self.tiles((0, 1, 2))

    def tiles_with_sigmoid(self) -> Tensor:
        self.sigmoid_counts = True
        try:
            return self.tiles()
        finally:
            self.sigmoid_counts = False

    def tiles_mirrored_with_sigmoid(self) -> Tensor:
        self.sigmoid_counts = True
        try:
            return self.tiles_mirrored()
        finally:
            self.sigmoid_counts = False

    def labels(self, probabilities: bool = False) -> None:
        channels = Channels([Part(self.total.numpy(), self.loaded.prepared[0].entry, (0.0,) * TARGET.channels)])
        decoded = decode(channels, TARGET, DECODING, self.loaded.spacing_mm)
        write_case(self.out, "case", channels, decoded, self.loaded.grid, TARGET, probabilities=probabilities)

    def label_map(self) -> None:
        channels = Channels([Part(self.total.numpy(), self.loaded.prepared[0].entry, (0.0,) * TARGET.channels)])
        labels = np.zeros(self.loaded.grid.shape, np.uint8)
        for region, probability in zip(TARGET.regions, channels, strict=True):
            labels[probability > 0.5] = region.decoded_as
        write_labels(self.out / "label_map.nii.gz", labels, self.loaded.grid)

    def probabilities(self) -> None:
        self.labels(probabilities=True)


class Theirs:
    """nnU-Net's predictor, its preprocessor and its export, with the plan that it makes for such a data set."""

    def __init__(self, case: Case, out: Path, meter: Meter):
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        out.mkdir()
        self.files = [str(case.sequences[name]) for name in SEQUENCES]
        self.out = str(out / "case")
        self.plans = PlansManager(_plans())
        self.configuration = self.plans.get_configuration("3d_fullres")
        self.dataset = {
            "channel_names": {str(index): name for index, name in enumerate(SEQUENCES)},
            "labels": {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": 3},
            "regions_class_order": [2, 1, 3],
            "file_ending": ".nii.gz",
        }
        self.predictor = nnUNetPredictor(
            tile_step_size=0.5, use_gaussian=True, use_mirroring=False, perform_everything_on_device=False, device=CPU,
            verbose=False, verbose_preprocessing=False, allow_tqdm=False,
        )  # fmt: skip
        self.predictor.manual_initialization(
            _Copies(meter), self.plans, self.configuration, [{}], self.dataset, "nnUNetTrainer", (0, 1, 2)
        )
        self.data, self.properties = self.prepare()
        total = answers(case, tuple((a, b) for a, b in self.properties["bbox_used_for_cropping"][::-1]))
        self.logits = torch.logit(torch.from_numpy(total.transpose(0, 3, 2, 1).copy()), 1e-6)  # SimpleITK's order

    def prepare(self) -> Any:
        processor = self.configuration.preprocessor_class(verbose=False)
        data, _, properties = processor.run_case(self.files, None, self.plans, self.configuration, self.dataset)
        return torch.from_numpy(data), properties

    def tiles(self) -> Tensor:
        self.predictor.use_mirroring = False
        return self.predictor.predict_logits_from_preprocessed_data(self.data)  # type: ignore[no-any-return]

    def tiles_mirrored(self) -> Tensor:
        self.predictor.use_mirroring = True
        return self.predictor.predict_logits_from_preprocessed_data(self.data)  # type: ignore[no-any-return]

    tiles_with_sigmoid, tiles_mirrored_with_sigmoid = tiles, tiles_mirrored  # their sigmoid is in the export

    def labels(self, probabilities: bool = False) -> None:
        from nnunetv2.inference.export_prediction import export_prediction_from_logits

        export_prediction_from_logits(
            self.logits, self.properties, self.configuration, self.plans, self.dataset, self.out, probabilities, 1
        )

    label_map = labels

    def probabilities(self) -> None:
        self.labels(probabilities=True)


def answers(case: Case, box: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Probabilities of a network that knows the reference: each region's mask, softened, in the box of the brain."""
    labels = read_labels(case.labels).labels if case.labels else None
    assert labels is not None
    inside = labels[tuple(slice(*ends) for ends in box)]
    return np.stack([0.01 + 0.98 * gaussian_filter(mask.astype(np.float32), 1) for mask in TARGET.masks(inside)])


class _Copies(nn.Module):
    def __init__(self, meter: Meter):
        super().__init__()
        self.meter = meter

    def forward(self, windows: Tensor) -> Tensor:
        return self.meter.copy(windows)


def _plans() -> dict[str, Any]:
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(PATCH),
        "median_image_size_in_voxels": [133, 168, 135],
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"] * 4,
        "use_mask_for_norm": [True] * 4,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": resampling | {"is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling | {"order": 1},
        "architecture": {"network_class_name": "", "arch_kwargs": {}, "_kw_requires_import": []},
        "batch_dice": False,
    }
    return {
        "dataset_name": "Dataset001_Phantom",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(channel): {} for channel in range(len(SEQUENCES))},
    }


# ---------------------------------------------------------------- memory


def print_peak(options: argparse.Namespace) -> None:
    peak = peak_in_subprocess("predict")
    if peak is None:
        print("the peak of a large case could not be measured")
        return
    print(
        f"\nmets3d predict, one case of {'x'.join(map(str, LARGE))}, small network, CPU: "
        f"peak {peak / MIB:.0f} MiB resident"
    )
    if not options.quick:
        save("inference", "memory", {"shape": LARGE, "peak_mib": round(peak / MIB)}, CPU)


def peak_of_predict() -> int:
    """Bytes resident at the peak of this process, which reads, predicts and writes one case, probabilities too."""
    with tempfile.TemporaryDirectory() as scratch:
        data, run = Path(scratch) / "cases", RunDir(Path(scratch) / "run")
        _write_large_case(data)
        config = Config.model_validate({"model": {"mode": "cnn", "features": 2, "max_features": 4}})
        network = build(config.model, in_channels=4, target=TARGET, patch=PATCH)
        write_text(run.config, to_yaml(config))
        write_json(run.plan, {"sequences": SEQUENCES, "spacing_mm": (1.0, 1.0, 1.0), "margin_voxels": 0})
        save_weights({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, run.weights)
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is resident now
        found = predict(run.path, data, probabilities=True, overrides=["--predict.window_batch=1"])
        assert not found.failures, found.failures
    return resident_bytes("VmHWM")


def _write_large_case(data: Path) -> None:
    from mets3d.data.nifti import write_image

    rng = np.random.default_rng(0)
    for sequence in SEQUENCES:
        image = rng.integers(1, 1000, LARGE, dtype=np.int16)
        write_image(data / "Case-000" / f"Case-000-{sequence}.nii.gz", image, np.eye(4))


if __name__ == "__main__":
    main()
