"""What prediction costs besides the network: our pipeline beside nnU-Net's, for the same case and tiles.

    .venv/bin/python -m pip install --no-deps -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/inference.py [--rounds 5] [--quick] [--only steps | end-to-end | memory]

The case is a phantom of 240x240x155 voxels with a brain of about 135x168x133, tiles of 128^3 at half overlap, one
thread. The network copies three channels of its input; the time spent inside it is taken off. Steps:

    read and prepare    four files -> cropped, z-scored array
    tiles               array -> probabilities (nnU-Net: logits), without and with all 8 mirrored copies
    labels              -> label map on disk (ours: also uncertainty map and lesion table)
    probabilities       -> the same and probabilities on disk, compressed

nnU-Net averages logits and takes the sigmoid in the export; here `SegOutput.probabilities` is what the network answers
and what is averaged, so its sigmoid belongs to the forward pass. Two rows count it as overhead instead. Writes
benchmarks/results/inference.json and prints medians (least - largest) over the rounds and, by round, how many times
less than nnU-Net.

End to end: `mets3d predict` as a function beside `nnUNetPredictor.predict_from_files`, files in, files out, over two
phantoms and over five, without and with all 8 mirrored copies. Each call has a fresh process; what is timed is the call
alone, after imports and set-up. Wall seconds, and CPU seconds with those of child processes; of both the time inside
the network is taken off. One window at a time and one torch thread in either.

    mets3d    reads the run's files and the headers, hashes the weights; reads and writes in two threads beside the
              windows; writes label map, uncertainty map, lesion table and record of each case
    nnU-Net   2 processes that preprocess and 2 that export, spawned by the call; their start (imports) is part of it,
              as it is for its users; writes the label map of each case

`each further case` leaves the starts out: the difference between five cases and two, over three.
`--peak` is for itself: peak memory of `mets3d predict` on a 512x512x176 case with a small network, in a process of its
own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ["nnUNet_def_n_proc"] = "1"
for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(variable, tempfile.gettempdir())

import numpy as np
import torch
from harness import MIB, peak_in_subprocess, print_table, ratios, resident_bytes, round_robin, save, shown, spread
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from mets3d.config import Config, to_yaml
from mets3d.data.cases import SEQUENCES, Case, find_cases
from mets3d.data.nifti import read_image, read_labels, write_labels
from mets3d.data.prepare import prepare
from mets3d.files import write_json, write_text
from mets3d.inference.channels import Channels, Part
from mets3d.inference.decoding import decode
from mets3d.inference.decoding_settings import RegionDecoding
from mets3d.inference.ensemble import Loaded
from mets3d.inference.outputs import write_case
from mets3d.inference.predict import predict
from mets3d.inference.setup import Choices
from mets3d.inference.sliding import window_probabilities
from mets3d.models import build
from mets3d.models.weights import save_weights
from mets3d.phantoms.synth import synthesise
from mets3d.regions import Target
from mets3d.rundir import PredictionsDir, RunDir
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
    parser.add_argument("--only", choices=("steps", "end-to-end", "memory"))
    parser.add_argument("--peak", metavar="NAME", help="for itself")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        print(peak_of_predict())
        return
    if options.only in (None, "steps"):
        with tempfile.TemporaryDirectory() as scratch:
            overhead(Path(scratch), options)
    if options.only in (None, "end-to-end"):
        with tempfile.TemporaryDirectory() as scratch:
            end_to_end(Path(scratch), options)
    if options.only in (None, "memory"):
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
    print_comparison("Everything but the network, one case, one thread", "step", results)
    if THEIRS in contestants and not options.quick:
        shape = contestants[OURS].loaded.prepared[0].image.shape
        save("inference", "overhead", {"case": {"stored": list(shape), "patch": PATCH}, "steps": results}, CPU)


def print_comparison(title: str, first: str, results: dict[str, dict[str, Any]]) -> None:
    header = [
        first,
        f"{OURS} wall s",
        f"{THEIRS} wall s",
        "times less",
        f"{OURS} CPU s",
        f"{THEIRS} CPU s",
        "times less",
    ]
    rows = []
    for name_of_row, result in results.items():
        row = [name_of_row]
        for clock in ("wall_s", "cpu_s"):
            row += [shown(result[name][clock]) if name in result else "-" for name in (OURS, THEIRS)]
            row += [shown(result.get(f"times_less_{clock}"))]
        rows.append(row)
    print_table(title, header, rows)


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

    def copy(self, windows: Tensor, less: float = 0) -> Tensor:
        """The network: a copy of three channels of its input, `less` taken off."""
        with self.inside_network():
            answer = windows[:, : TARGET.channels].clone()
            return answer.sub_(less) if less else answer

    def taken_off(self, name: str, measured: dict[str, list[float]]) -> dict[str, list[float]]:
        inside = self.inside[name][-len(measured["wall_s"]) :]  # without the warm-up
        return {
            clock: [value - taken[index] for value, taken in zip(measured[clock], inside, strict=True)]
            for index, clock in enumerate(("wall_s", "cpu_s"))
        }


class Ours:
    """The steps of `mets3d predict`."""

    def __init__(self, case: Case, out: Path, meter: Meter):
        self.case, self.out, self.meter = case, PredictionsDir(out), meter
        self.sigmoid_counts = False
        self.loaded = self.prepare()
        self.total = torch.from_numpy(answers(case, self.loaded.prepared[0].entry.box))

    def prepare(self) -> Loaded:
        images = {name: read_image(self.case.sequences[name].path) for name in SEQUENCES}
        prepared = prepare(images, None, (1.0, 1.0, 1.0), 0, cavity=False)
        first = images["t1c"]
        return Loaded([prepared], first.source, first.spacing_mm)

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
        within, inside = channels.inside()
        decoded = decode(inside, TARGET, DECODING, self.loaded.spacing_mm, within=within)
        spacing_mm = self.loaded.spacing_mm
        write_case(
            self.out, "case", channels, decoded, self.loaded.grid, TARGET, spacing_mm, probabilities=probabilities
        )

    def label_map(self) -> None:
        channels = Channels([Part(self.total.numpy(), self.loaded.prepared[0].entry, (0.0,) * TARGET.channels)])
        (box, shape), inside = channels.inside()
        labels = np.zeros(shape, np.uint8)
        painted = labels[tuple(slice(*ends) for ends in box)]
        for region, probability in zip(TARGET.regions, inside, strict=True):
            painted[probability > 0.5] = region.decoded_as
        write_labels(self.out.path / "label_map.nii.gz", labels, self.loaded.grid)

    def probabilities(self) -> None:
        self.labels(probabilities=True)


class Theirs:
    """nnU-Net's predictor, its preprocessor and its export, with the plan that it makes for such a data set."""

    def __init__(self, case: Case, out: Path, meter: Meter):
        out.mkdir()
        self.files = [str(case.sequences[name]) for name in SEQUENCES]
        self.out = str(out / "case")
        self.predictor = nnunet_predictor(_Copies(meter))
        self.plans, self.dataset = self.predictor.plans_manager, self.predictor.dataset_json
        self.configuration = self.predictor.configuration_manager
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


def nnunet_predictor(network: nn.Module) -> Any:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(_plans())
    dataset = {
        "channel_names": {str(index): name for index, name in enumerate(SEQUENCES)},
        "labels": {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": 3},
        "regions_class_order": [2, 1, 3],
        "file_ending": ".nii.gz",
    }
    predictor = nnUNetPredictor(
        tile_step_size=0.5, use_gaussian=True, use_mirroring=False, perform_everything_on_device=False, device=CPU,
        verbose=False, verbose_preprocessing=False, allow_tqdm=False,
    )  # fmt: skip
    predictor.manual_initialization(
        network, plans, plans.get_configuration("3d_fullres"), [{}], dataset, "nnUNetTrainer", (0, 1, 2)
    )
    return predictor


class _Copies(nn.Module):
    def __init__(self, meter: Meter, less: float = 0):
        super().__init__()
        self.meter, self.less = meter, less

    def forward(self, windows: Tensor) -> Tensor:
        return self.meter.copy(windows, self.less)


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


# ---------------------------------------------------------------- end to end

FEW, CASES = 2, 5  # nnU-Net starts all its processes for two cases already
BRIGHT = 3.0  # standard deviations above a brain's mean: what is more is a lesion, a few per cent of it


PER_CASE: dict[str, tuple[float, float]] = {  # shares of the call with few cases and of that with all
    f"one of {FEW} cases": (1 / FEW, 0),
    f"one of {CASES} cases": (0, 1 / CASES),
    "each further case": (-1 / (CASES - FEW), 1 / (CASES - FEW)),
}


def end_to_end(scratch: Path, options: argparse.Namespace) -> None:
    rivals = [OURS] if find_spec("nnunetv2") is None else [OURS, THEIRS]
    for count in (FEW, CASES):
        synthesise(scratch / f"cases-{count}", count, 0)
    measured: dict[tuple[str, str, int], dict[str, list[float]]] = {}
    for number in range(1 if options.quick else options.rounds):
        for mirrored in ("", "mirrored"):
            for count in (FEW, CASES):
                for rival in rivals:
                    out = scratch / f"out-{number}-{mirrored}-{count}-{rival}"
                    seconds = _in_fresh_process(rival, mirrored, scratch / f"cases-{count}", out)
                    for clock, value in seconds.items():
                        measured.setdefault((rival, mirrored, count), {}).setdefault(clock, []).append(value)
    results = {
        title + ", 8 mirrored copies" * bool(mirrored): _compared(
            {rival: (measured[rival, mirrored, FEW], measured[rival, mirrored, CASES]) for rival in rivals}, *shares
        )
        for mirrored in ("", "mirrored")
        for title, shares in PER_CASE.items()
    }
    print_comparison("End to end, everything but the network, seconds a case", "cases", results)
    if THEIRS in rivals and not options.quick:
        save("inference", "end to end", {"cases": CASES, "patch": PATCH, "calls": results}, CPU)


def _compared(
    measured: dict[str, tuple[dict[str, list[float]], dict[str, list[float]]]], of_few: float, of_all: float
) -> dict[str, Any]:
    """By rival and clock, and how many times less; of each round the seconds of both calls times these shares."""
    row: dict[str, Any] = {rival: {} for rival in measured}
    for clock in ("wall_s", "cpu_s"):
        rounds = {
            rival: [of_few * a + of_all * b for a, b in zip(few[clock], every[clock], strict=True)]
            for rival, (few, every) in measured.items()
        }
        for rival, values in rounds.items():
            row[rival][clock] = spread(values)
        if THEIRS in rounds:
            row[f"times_less_{clock}"] = ratios(rounds[THEIRS], rounds[OURS])
    return row


def _in_fresh_process(rival: str, mirrored: str, data: Path, out: Path) -> dict[str, float]:
    """Seconds of one call. Not as a script: nnU-Net's processes would run it again, with all it imports."""
    code = f"import inference; inference.call({rival!r}, {mirrored!r}, {str(data)!r}, {str(out)!r})"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        "LOCAL_WORLD_SIZE": str(os.cpu_count()),  # one thread for windows: see `_threads` in ensemble.py
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{rival} did not finish\n{done.stdout}{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def call(rival: str, mirrored: str, data: str, out: str) -> None:
    """Runs one call on all cases of a folder and prints its seconds, as JSON, in the last line."""
    torch.set_num_threads(1)
    meter = Meter()
    run = (_our_call if rival == OURS else _their_call)(meter, bool(mirrored), Path(data), Path(out))
    before, wall = os.times(), time.perf_counter()
    run()
    wall, after = time.perf_counter() - wall, os.times()
    cpu = sum(after[:4]) - sum(before[:4])  # user and system, own and of children that have ended
    print(json.dumps({"wall_s": wall - meter.wall, "cpu_s": cpu - meter.cpu}))


def _our_call(meter: Meter, mirrored: bool, data: Path, out: Path) -> Callable[[], Any]:
    from mets3d.inference import members

    run = RunDir(out.with_name(out.name + "-run"))
    write_text(run.config, to_yaml(Config.model_validate({"data": {"patch": PATCH}})))
    write_json(run.plan, {"sequences": SEQUENCES, "spacing_mm": (1.0, 1.0, 1.0), "margin_voxels": 0})
    save_weights({"none": torch.zeros(1)}, run.weights)
    members.load_network = lambda *_: _Answers(meter)
    overrides = [f"--predict.mirror={[0, 1, 2] if mirrored else []}"]

    def run_it() -> None:
        found = predict(run.path, data, out, Choices(overrides=overrides))
        assert not found.failures, found.failures

    return run_it


class _Answers(_Copies):
    def __init__(self, meter: Meter):
        super().__init__(meter, BRIGHT)

    def forward(self, windows: Tensor) -> SegOutput:  # type: ignore[override]
        output = SegOutput("sigmoid", logits=super().forward(windows))
        with self.meter.inside_network():
            output.probabilities  # noqa: B018 - kept by the output
        return output


def _their_call(meter: Meter, mirrored: bool, data: Path, out: Path) -> Callable[[], Any]:
    predictor = nnunet_predictor(_Copies(meter, BRIGHT))
    predictor.use_mirroring = mirrored
    cases = list(find_cases(data))
    files = [[str(case.sequences[name]) for name in SEQUENCES] for case in cases]
    to = [str(out / case.name) for case in cases]
    return lambda: predictor.predict_from_files(
        files, to, num_processes_preprocessing=2, num_processes_segmentation_export=2
    )


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
        Path("/proc/self/clear_refs").write_text(
            "5", encoding="utf-8"
        )  # the high-water mark falls to what is resident now
        found = predict(run.path, data, choices=Choices(overrides=["--predict.window_batch=1"]), probabilities=True)
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
