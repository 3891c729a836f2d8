"""Scoring one case: three rule sets against panoptica, which the challenge of 2026 runs, MONAI and surface-distance.

    python benchmarks/evaluation.py [--rounds 5] [--cases atlas-10 atlas-30 native-30]

All take turns on the same label maps in memory, on one thread, after their imports. panoptica does the matching and the
lesion-wise scores of 2026 for WT, TC, ET and RC. MONAI and surface-distance know no lesions: theirs are the scores of
whole regions (Dice, HD95, surface Dice; HD95) that ours work out too. For panoptica: benchmarks/requirements.txt.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import harness
import numpy as np
import torch

from mets3d.evaluation.lesions import lesion_scores
from mets3d.evaluation.rules import RULE_SETS
from mets3d.regions import scored_regions

RULES = tuple(rules.name for rules in RULE_SETS)
CASES: dict[str, tuple[harness.Shape, tuple[float, float, float], int]] = {
    "atlas-10": ((240, 240, 155), (1.0, 1.0, 1.0), 10),
    "atlas-30": ((240, 240, 155), (1.0, 1.0, 1.0), 30),
    "native-30": ((512, 512, 176), (0.5, 0.5, 1.0), 30),
}
# Volumes of metastases are about log-normal: half of them below 40 mm3, one in twenty above 2,700 mm3.
MEDIAN_MM3, LOG_SD = 40.0, 2.56
LARGEST_MM3 = 30_000.0

Labels = np.ndarray


def label_pair(
    shape: harness.Shape, spacing_mm: tuple[float, ...], lesions: int, seed: int = 0
) -> tuple[Labels, Labels]:
    """A prediction and a reference: shells of oedema around enhancing lesions with a core, some missed, some false."""
    rng = np.random.default_rng(seed)
    prediction, reference = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    box_mm = np.array(shape) * spacing_mm
    for number in range(lesions):
        volume_mm3 = min(MEDIAN_MM3 * np.exp(LOG_SD * rng.standard_normal()), LARGEST_MM3)
        radius_mm = (3 * volume_mm3 / (4 * np.pi)) ** (1 / 3)
        centre_mm = rng.uniform(0.15, 0.85, 3) * box_mm
        _draw(reference, centre_mm, radius_mm, spacing_mm)
        if number % 5 != 4:
            _draw(
                prediction,
                centre_mm + rng.normal(0, 0.15 * radius_mm, 3),
                radius_mm * rng.uniform(0.85, 1.15),
                spacing_mm,
            )
        elif number % 2:
            _draw(prediction, rng.uniform(0.15, 0.85, 3) * box_mm, radius_mm, spacing_mm)
    return prediction, reference


def _draw(labels: Labels, centre_mm: np.ndarray, radius_mm: float, spacing_mm: tuple[float, ...]) -> None:
    reach = np.ceil((2 * radius_mm + 2) / np.asarray(spacing_mm)).astype(int)
    middle = np.round(centre_mm / spacing_mm).astype(int)
    start, stop = np.maximum(middle - reach, 0), np.minimum(middle + reach + 1, labels.shape)
    axes = np.ogrid[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    squares = [(axis * side - c) ** 2 for axis, side, c in zip(axes, spacing_mm, centre_mm, strict=True)]
    distance_mm = np.sqrt(squares[0] + squares[1] + squares[2])
    inside = labels[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    inside[(distance_mm <= 1.8 * radius_mm) & (inside == 0)] = 2
    inside[distance_mm <= radius_mm] = 3
    inside[distance_mm <= 0.5 * radius_mm] = 1


def contestants(prediction: Labels, reference: Labels, spacing_mm: tuple[float, ...]) -> dict[str, Callable[[], Any]]:
    """Ours by rule set and all together, and the incumbents that are installed."""
    found: dict[str, Callable[[], Any]] = {
        name: partial(lesion_scores, prediction, reference, spacing_mm, rules=name) for name in RULES
    }
    found["all three"] = lambda: [lesion_scores(prediction, reference, spacing_mm, rules=name) for name in RULES]
    for name, make in (("panoptica", _panoptica), ("MONAI", _monai), ("surface-distance", _surface_distance)):
        try:
            found[name] = make(prediction, reference, spacing_mm)
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return found


def _panoptica(prediction: Labels, reference: Labels, spacing_mm: tuple[float, ...]) -> Callable[[], Any]:
    from panoptica import ConnectedComponentsInstanceApproximator, InputType, MaxBipartiteMatching, Panoptica_Evaluator
    from panoptica.metrics import Metric
    from panoptica.utils.edge_case_handling import EdgeCaseHandler, EdgeCaseResult, MetricZeroTPEdgeCaseHandling
    from panoptica.utils.label_group import LabelGroup, LabelMergeGroup
    from panoptica.utils.segmentation_class import SegmentationClassGroups

    metrics = [Metric.DSC, Metric.NSD, Metric.HD95]
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=MaxBipartiteMatching(matching_metric=Metric.DSC, matching_threshold=1e-6),
        segmentation_class_groups=SegmentationClassGroups(
            {
                "et": LabelGroup([3]),
                "rc": LabelGroup([4]),
                "tc": LabelMergeGroup([1, 3]),
                "wt": LabelMergeGroup([1, 2, 3]),
            }
        ),
        edge_case_handler=EdgeCaseHandler(
            {metric: MetricZeroTPEdgeCaseHandling(default_result=EdgeCaseResult.NAN) for metric in metrics},
            empty_list_std=EdgeCaseResult.NAN,
        ),
        instance_metrics=metrics,
        global_metrics=metrics,
    )

    def run() -> Any:
        results = evaluator.evaluate(prediction, reference, voxelspacing=spacing_mm, verbose=False)
        return {name: result.to_dict() for name, result in results.items()}

    return run


def _monai(prediction: Labels, reference: Labels, spacing_mm: tuple[float, ...]) -> Callable[[], Any]:
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

    def run() -> Any:
        masks = [
            torch.from_numpy(np.stack([region.mask(labels) for region in scored_regions()]))[None]
            for labels in (prediction, reference)
        ]
        return (
            compute_dice(*masks),
            compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=list(spacing_mm)),
            compute_surface_dice(*masks, [1.0] * 3, include_background=True, spacing=list(spacing_mm)),
        )

    return run


def _surface_distance(prediction: Labels, reference: Labels, spacing_mm: tuple[float, ...]) -> Callable[[], Any]:
    from surface_distance import compute_robust_hausdorff, compute_surface_distances

    def run() -> Any:
        pairs = [[region.mask(labels) for labels in (reference, prediction)] for region in scored_regions()]
        return [compute_robust_hausdorff(compute_surface_distances(*pair, spacing_mm), 95) for pair in pairs]

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--peak", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.peak:
        shape, spacing_mm, lesions = CASES[options.peak]
        pair = label_pair(shape, spacing_mm, lesions)
        lesion_scores(*label_pair((40, 40, 40), (1.0, 1.0, 1.0), 2), (1.0, 1.0, 1.0))  # imports
        print(harness.resident_added(lambda: [lesion_scores(*pair, spacing_mm, rules=name) for name in RULES]))
        return
    device = torch.device("cpu")
    for case in options.cases:
        shape, spacing_mm, lesions = CASES[case]
        pair = label_pair(shape, spacing_mm, lesions)
        small = contestants(*label_pair((40, 40, 40), (1.0, 1.0, 1.0), 2), (1.0, 1.0, 1.0))
        for run in small.values():
            run()  # imports and tables are not timed
        measured = harness.round_robin(contestants(*pair, spacing_mm), options.rounds, device, warm_up=0)
        peak = harness.peak_in_subprocess(case)
        report(case, shape, lesions, measured, peak, device)


def report(
    case: str,
    shape: harness.Shape,
    lesions: int,
    measured: dict[str, harness.Measures],
    peak: int | None,
    device: torch.device,
) -> None:
    seconds = {name: values["cpu_s"] for name, values in measured.items()}
    rivals = {"panoptica": "brats2026", "MONAI": "brats2026", "surface-distance": "brats2023"}
    ratios = {
        f"{rival} / {ours}": harness.ratios(seconds[rival], seconds[ours])
        for rival, ours in rivals.items()
        if rival in seconds
    }
    memory = f"all three add {(peak or 0) / harness.MIB:.0f} MiB"
    title = f"{case}: {harness.shape_name(shape)}, {lesions} lesions, CPU seconds; {memory}"
    harness.print_table(
        title, ["who", "median (min - max)"], [[n, harness.shown(harness.spread(v))] for n, v in seconds.items()]
    )
    harness.print_table(
        "ratio", ["of", "median (min - max)"], [[name, harness.shown(found)] for name, found in ratios.items()]
    )
    harness.save(
        "evaluation",
        case,
        {
            "shape": list(shape),
            "lesions": lesions,
            "cpu_s": {name: harness.spread(values) for name, values in seconds.items()},
            "ratios": ratios,
            "peak_bytes_added": peak,
        },
        device,
    )


if __name__ == "__main__":
    main()
