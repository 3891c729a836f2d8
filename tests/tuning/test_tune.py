"""Choosing the decoding on held-out cases: planted optima, ties, what is refused, and that scores are the real ones."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mets3d.__main__ import main
from mets3d.config import Config, to_yaml
from mets3d.data.nifti import read_image, write_image, write_probabilities
from mets3d.evaluation.lesions import lesion_scores
from mets3d.files import read_json, write_json, write_text
from mets3d.inference.decoding import decode
from mets3d.inference.decoding_settings import RegionDecoding, read_decoding
from mets3d.regions import ET, RC, Region, Target
from mets3d.rundir import RunDir
from mets3d.tuning.held_out_cases import HeldOutCase
from mets3d.tuning.rescoring import prepare, score
from mets3d.tuning.result import Tuning
from mets3d.tuning.search import SearchGrid, choose, choose_without, grid_for, out_of_fold
from mets3d.tuning.tune import tune

SHAPE = (24, 20, 16)
DEFAULT = RegionDecoding()
Volume = np.ndarray
Example = tuple[Volume, Volume]  # probabilities, labels


# ---------------------------------------------------------------- runs made by hand


def ball(centre: tuple[int, int, int], radius: float) -> Volume:
    grid = np.indices(SHAPE).T - np.array(centre)
    return np.asarray(radius >= np.sqrt((grid**2).sum(-1)).T)


def write_data(folder: Path, name: str, labels: Volume | None, affine: Volume) -> None:
    case = folder / name
    write_image(case / f"{name}-t1c.nii.gz", np.ones(SHAPE, np.float32), affine)
    if labels is not None:
        write_image(case / f"{name}-seg.nii.gz", labels.astype(np.uint8), affine)


def make_run(
    folder: Path,
    held_out: Mapping[str, Example],
    *,
    target: Target | None = None,
    training: Sequence[str] = ("T-900-000",),
    spacing_mm: tuple[float, float, float] = (1, 1, 1),
    rules: str = "brats2026",
) -> tuple[Path, Path]:
    """A run directory with the probabilities of its held-out cases, and the data set with their references."""
    target = target or Target()
    data, run = folder / "data", RunDir(folder / "runs" / "tiny")
    affine = np.diag([*spacing_mm, 1.0])
    config = Config.model_validate(
        {"data": {"target": target.kind, "cavity": target.cavity}, "validate": {"rules": rules}}
    )
    write_text(run.config, to_yaml(config))
    write_json(run.split, {"training": list(training), "validation": list(held_out)})
    for name, (probabilities, labels) in held_out.items():
        write_data(data, name, labels, affine)
        grid = read_image(data / name / f"{name}-t1c.nii.gz").source
        file = Path(run.predictions) / "probabilities" / f"{name}.nii.gz"
        write_probabilities(file, probabilities.astype(np.float32), grid, target.names)
    for name in training:
        write_data(data, name, np.zeros(SHAPE), affine)
    return run.path, data


@pytest.mark.parametrize("integer", [-1, 300])
def test_a_label_that_no_byte_holds_is_background_as_in_the_evaluation(tmp_path: Path, integer: int) -> None:
    examples = {f"H-{number}-000": planted_threshold(number) for number in range(2)}
    run, data = make_run(tmp_path, examples)
    plain = tune(run, data, rules="brats2023", force=True)
    labels = examples["H-0-000"][1].astype(np.int16)
    labels[0, 0, 0] = integer
    write_image(data / "H-0-000" / "H-0-000-seg.nii.gz", labels, np.eye(4))
    assert tune(run, data, rules="brats2023", force=True).regions == plain.regions
    with pytest.raises(ValueError, match="brats2026 refuses its reference"):
        tune(run, data)


def of(tuning: Tuning, region: str) -> Any:
    return next(row for row in tuning.regions if row.region == region)


def planted_threshold(seed: int) -> Example:
    """ET is where its probability is above 0.3; around it lies 0.25. TC and WT are right as they are."""
    rng = np.random.default_rng(seed)
    lesion = ball((6 + int(rng.integers(10)), 10, 8), 3)
    halo = ndimage.binary_dilation(lesion, iterations=2)
    right = np.where(halo, 0.9, 0.02)
    et = np.where(lesion, 0.38, np.where(halo, 0.25, 0.01))
    return np.stack([right, right, et]), np.where(lesion, 3, np.where(halo, 1, 0))


def planted_peak(seed: int) -> Example:
    """True lesions are as faint as false ones, but for one bright voxel; the false ones are larger."""
    rng = np.random.default_rng(seed)
    lesion, false = ball((5 + int(rng.integers(3)), 5, 5), 2), ball((17, 14, 10), 3)
    et = np.where(lesion | false, 0.38, 0.01)
    et[ball((17, 14, 10), 0)] = 0.45
    et[tuple(np.argwhere(lesion)[0])] = 0.97
    return np.stack([et, et, et]), np.where(lesion, 3, 0)


def planted_size(seed: int) -> Example:
    """False lesions are as bright as true ones, and of 7 voxels."""
    lesion, false = ball((5 + seed % 3, 5, 5), 2), ball((17, 14, 10), 1)
    et = np.where(lesion | false, 0.9, 0.01)
    return np.stack([et, et, et]), np.where(lesion, 3, 0)


def cases_of(example: Any, count: int = 3) -> dict[str, Example]:
    return {f"P-{index:03d}-000": example(index) for index in range(count)}


# ---------------------------------------------------------------- what is chosen


def test_a_planted_threshold_is_found_and_nothing_else_is_changed(tmp_path: Path) -> None:
    tuning = tune(*make_run(tmp_path, cases_of(planted_threshold)))
    assert {row.region: row.setting for row in tuning.regions} == {
        "WT": DEFAULT,
        "TC": DEFAULT,
        "ET": RegionDecoding(0.3),
    }
    et = of(tuning, "ET")
    assert (et.default, et.tuned, et.crossed, et.cases) == (0.0, 1.0, 1.0, 3)
    assert read_decoding(tmp_path / "runs" / "tiny" / "decoding.json", Target())["ET"] == RegionDecoding(0.3)


def test_a_planted_peak_is_found_together_with_its_threshold(tmp_path: Path) -> None:
    tuning = tune(*make_run(tmp_path, cases_of(planted_peak)))
    # 0.3 is one and 0.2 and 0.1 are more steps from 0.5; 0.5 is the lowest peak above the false ones' 0.45.
    assert of(tuning, "ET").setting == RegionDecoding(0.3, 0.5)
    assert of(tuning, "ET").tuned == 1.0


def test_a_planted_size_is_found_in_cubic_millimetres(tmp_path: Path) -> None:
    # 7 voxels of 2 mm3 are 14 mm3, 33 of them 66 mm3: 16 removes the false ones, and is the first that does.
    tuning = tune(*make_run(tmp_path, cases_of(planted_size), spacing_mm=(1, 1, 2)))
    assert of(tuning, "ET").setting == RegionDecoding(min_volume_mm3=16.0)
    assert (of(tuning, "ET").default, of(tuning, "ET").tuned) == (0.5, 1.0)


def test_the_cavitys_switches_are_tried_where_the_rules_score_it(tmp_path: Path) -> None:
    def example(seed: int) -> Example:
        cavity, inside = ball((7, 8, 8), 5), ball((7, 8, 8), 2)
        rc = np.where(cavity & ~inside, 0.9, 0.01)
        # As large as the largest limit that is tried, and as bright: only largest-only tells it from the cavity.
        rc[16:23, 2:17, 5:9] = 0.9
        zeros = np.zeros(SHAPE)
        return np.stack([zeros, zeros, zeros, rc]), np.where(cavity, 4, 0)

    run, data = make_run(tmp_path, cases_of(example), target=Target(cavity=True), rules="brats2024")
    tuning = tune(run, data)
    assert of(tuning, "RC").setting == RegionDecoding(largest_only=True, fill_holes=True)
    assert of(tuning, "RC").tuned == 1.0
    assert [row.region for row in tuning.regions] == ["WT", "TC", "ET", "RC"]
    left_alone = tune(run, data, rules="brats2023", out=tmp_path / "other.json", force=True)
    assert [row.region for row in left_alone.regions] == ["WT", "TC", "ET"]
    assert read_decoding(tmp_path / "other.json", Target(cavity=True))["RC"] == DEFAULT


def test_without_gain_the_default_stays(tmp_path: Path) -> None:
    def example(seed: int) -> Example:
        lesion = ball((8, 9, 8), 3)
        probability = np.where(lesion, 0.99, 0.01)  # right by every threshold
        return np.stack([probability] * 3), np.where(lesion, 3, 0)

    tuning = tune(*make_run(tmp_path, cases_of(example)))
    assert {row.setting for row in tuning.regions} == {DEFAULT}
    assert {(row.default, row.tuned, row.crossed) for row in tuning.regions} == {(1.0, 1.0, 1.0)}


def test_label_mode_leaves_thresholds_alone(tmp_path: Path) -> None:
    def example(seed: int) -> Example:
        lesion, false = ball((5, 5, 5), 2), ball((17, 14, 10), 3)
        et = np.where(lesion | false, 0.6, 0.0)
        et[5, 5, 5] = 0.9
        zeros = np.zeros(SHAPE)
        return np.stack([1 - et, zeros, zeros, et]), np.where(lesion, 3, 0)

    tuning = tune(*make_run(tmp_path, cases_of(example), target=Target("labels")))
    assert of(tuning, "ET").setting == RegionDecoding(peak=0.6)
    assert of(tuning, "ET").tuned == 1.0


def test_the_objective_decides(tmp_path: Path) -> None:
    def example(seed: int) -> Example:
        # A large lesion drawn right at 0.5, and two small ones that are seen at 0.3 only, where the large one is fat.
        large = ball((7, 10, 8), 4)
        fat = ndimage.binary_dilation(large, iterations=2)
        small = ball((20, 4, 4), 1) | ball((20, 15, 4), 1)
        et = np.where(large, 0.9, np.where(fat | small, 0.35, 0.01))
        return np.stack([et] * 3), np.where(large | small, 3, 0)

    run, data = make_run(tmp_path, cases_of(example))
    assert of(tune(run, data, objective="dice"), "ET").setting == DEFAULT
    found = of(tune(run, data, objective="f1"), "ET")
    assert found.setting == RegionDecoding(0.3)
    assert (found.default, found.tuned) == (0.5, 1.0)


def test_cases_without_a_value_are_left_out_of_the_mean(tmp_path: Path) -> None:
    empty = np.full((3, *SHAPE), 0.01), np.zeros(SHAPE)
    cases = cases_of(planted_threshold, 2) | {"P-009-000": empty}
    found = of(tune(*make_run(tmp_path, cases), rules="brats2026"), "ET")
    assert (found.cases, found.default, found.tuned) == (2, 0.0, 1.0)
    found = of(tune(*make_run(tmp_path / "2023", cases, rules="brats2023")), "ET")
    assert (found.cases, found.default, found.tuned) == (3, pytest.approx(1 / 3), 1.0)


def test_the_number_of_processes_changes_nothing(tmp_path: Path) -> None:
    run, data = make_run(tmp_path, cases_of(planted_peak))
    one = tune(run, data, jobs=1, out=tmp_path / "one.json")
    two = tune(run, data, jobs=2, out=tmp_path / "two.json")
    assert one.regions == two.regions
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


# ---------------------------------------------------------------- the search itself, on scores made up


def made_up(values: Mapping[RegionDecoding, Sequence[float]], otherwise: Sequence[float]) -> Any:
    def scores(region: Region, decoding: Any, candidates: Sequence[RegionDecoding]) -> Volume:
        return np.array([values.get(setting, otherwise) for setting in candidates], np.float64)

    return scores


GRIDS = {"ET": grid_for(DEFAULT, Target(), ET)}
EVERYWHERE_05 = {"WT": DEFAULT, "TC": DEFAULT, "ET": DEFAULT}


def test_cross_validation_never_shows_a_case_to_its_own_choice() -> None:
    # Each case likes a threshold of its own; on the others' cases that threshold looks bad.
    values = {
        RegionDecoding(0.3): [1.0, 0.0, 0.0],
        RegionDecoding(0.6): [0.0, 1.0, 0.0],
        RegionDecoding(0.7): [0.0, 0.0, 1.0],
    }
    scores = made_up(values, [0.4, 0.4, 0.4])
    folds = [np.array([0]), np.array([1]), np.array([2])]
    best = choose(scores, Target(), GRIDS, EVERYWHERE_05, np.arange(3), lambda name: None)
    assert best["ET"] == DEFAULT
    without = choose_without(scores, Target(), GRIDS, EVERYWHERE_05, folds, lambda name: None)
    assert out_of_fold(scores, ET, folds, without).tolist() == [0.0, 0.0, 0.0]
    assert choose(scores, Target(), GRIDS, EVERYWHERE_05, np.array([1]), lambda name: None)["ET"] == RegionDecoding(0.6)


def test_of_equal_settings_the_nearest_to_the_default_is_taken() -> None:
    good = [1.0]
    equal = {RegionDecoding(0.1): good, RegionDecoding(0.7): good, RegionDecoding(0.8, 0.9): good}
    found = choose(made_up(equal, [0.5]), Target(), GRIDS, EVERYWHERE_05, np.arange(1), lambda name: None)
    assert found["ET"] == RegionDecoding(0.7)
    rounding = {RegionDecoding(0.6): [0.5 + 1e-15]}
    found = choose(made_up(rounding, [0.5]), Target(), GRIDS, EVERYWHERE_05, np.arange(1), lambda name: None)
    assert found["ET"] == DEFAULT


def test_no_value_anywhere_leaves_the_default() -> None:
    found = choose(made_up({}, [math.nan]), Target(), GRIDS, EVERYWHERE_05, np.arange(1), lambda name: None)
    assert found["ET"] == DEFAULT


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_choice_never_scores_below_the_default_and_no_single_group_improves_it(seed: int) -> None:
    grid = SearchGrid(DEFAULT, (0.3, 0.5, 0.7), (0.6, 0.8), (0.0, 8.0), (False, True))

    def value(setting: RegionDecoding) -> float:
        return float(np.random.default_rng([seed, hash(setting) % 2**32]).random())

    def scores(region: Region, decoding: Any, candidates: Sequence[RegionDecoding]) -> Volume:
        return np.array([[value(setting)] for setting in candidates])

    now = choose(scores, Target(), {"ET": grid}, EVERYWHERE_05, np.arange(1), lambda name: None)["ET"]
    assert value(now) >= value(DEFAULT)
    for group in grid.groups:
        assert value(now) == max(value(setting) for setting in grid.candidates(now, group))


def test_a_configured_threshold_is_on_the_grid_and_peaks_lie_above_their_threshold() -> None:
    grid = grid_for(RegionDecoding(0.45), Target(), RC)
    assert 0.45 in grid.thresholds
    assert grid_for(DEFAULT, Target("labels"), ET).thresholds == (0.5,)
    tried = grid.candidates(RegionDecoding(0.45), grid.groups[0])
    assert tried[0] == RegionDecoding(0.45)
    assert all(setting.peak is None or setting.peak > setting.threshold for setting in tried)
    assert RegionDecoding(0.2, 0.7) in tried


# ---------------------------------------------------------------- scores are those of the label map


@pytest.mark.slow
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_scores_are_those_of_the_decoded_label_map(tmp_path_factory: Any, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("score")
    target = Target(data.draw(st.sampled_from(["regions", "labels"])), data.draw(st.booleans()))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    noise = ndimage.gaussian_filter(rng.normal(size=(target.channels + 1, *SHAPE)), (0, 1.2, 1.2, 1.2)) * 12
    probabilities = 1 / (1 + np.exp(2 - noise[:-1]))
    labels = np.digitize(noise[-1], [2.0, 2.5, 3.5, 6])
    if target.kind == "labels":
        probabilities = probabilities / probabilities.sum(0)
    stored = np.where(labels == 3, 9, labels)  # a layout of other integers
    run, cases = make_run(folder, {"P-1-000": (probabilities, stored)}, target=target, spacing_mm=(1, 1.5, 0.7))
    rules = data.draw(st.sampled_from(["brats2023", "brats2024", "brats2026"]))
    objective = data.draw(st.sampled_from(["lesion_wise_dice", "f1", "dice"]))
    thresholds = [0.5] if target.kind == "labels" else [0.2, 0.5, 0.7]

    def setting() -> RegionDecoding:
        return RegionDecoding(
            data.draw(st.sampled_from(thresholds)),
            data.draw(st.sampled_from([None, 0.8, 0.9])),
            data.draw(st.sampled_from([0.0, 4.0, 30.0])),
            data.draw(st.booleans()),
            data.draw(st.booleans()),
        )

    decoding = {region.name: setting() for region in target.regions}
    own = run / "predictions" / "probabilities" / "P-1-000.nii.gz"
    case = HeldOutCase("P-1-000", own, cases / "P-1-000" / "P-1-000-seg.nii.gz", "P-1", {9: 3})
    problem = prepare(case, folder / "ready", target=target, thresholds=thresholds, rules=rules)
    assert problem is None
    painted = decode(list(probabilities.astype(np.float32)), target, decoding, (1, 1.5, 0.7)).labels
    expected = lesion_scores(painted, labels.astype(np.uint8), (1, 1.5, 0.7), rules=rules, distances=False)
    by_region = {row["region"]: row[objective] for row in expected}
    for region in target.regions:
        if region.name in by_region:
            found = score(
                folder / "ready",
                target=target,
                region=region,
                decoding=decoding,
                candidates=[decoding[region.name]] * 2,
                rules=rules,
                objective=objective,
            )
            assert found == pytest.approx([by_region[region.name]] * 2, abs=1e-12, nan_ok=True)


# ---------------------------------------------------------------- what is refused


def test_cases_of_the_training_split_are_refused(tmp_path: Path) -> None:
    run, data = make_run(tmp_path, cases_of(planted_size), training=("T-900-000", "T-901-000"))
    folder = run / "predictions" / "probabilities"
    (folder / "T-901-000.nii.gz").write_bytes((folder / "P-000-000.nii.gz").read_bytes())
    with pytest.raises(ValueError, match=r"1 case that the run was trained on.*T-901-000; remove .*--held-out"):
        tune(run, data)
    assert not (run / "decoding.json").exists()


def test_what_is_missing_is_named_with_what_to_do(tmp_path: Path) -> None:
    run, data = make_run(tmp_path, cases_of(planted_size))
    (run / "predictions" / "probabilities" / "P-001-000.nii.gz").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"lacks .* 1 held-out case: P-001-000; run `mets3d predict .* --held-out --prob"
    ):
        tune(run, data)
    run, data = make_run(tmp_path / "b", cases_of(planted_size))
    (data / "P-002-000" / "P-002-000-seg.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks the reference .*: P-002-000; name the data set"):
        tune(run, data)
    (run / "split.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"split\.json missing"):
        tune(run, data)


def test_predictions_of_other_weights_or_of_several_runs_are_refused(tmp_path: Path) -> None:
    run, data = make_run(tmp_path, cases_of(planted_size))
    (run / "model.safetensors").write_bytes(b"new")
    own = hashlib.sha256(b"new").hexdigest()
    write_json(run / "predictions" / "predict.json", {"weights_sha256": hashlib.sha256(b"old").hexdigest()})
    with pytest.raises(ValueError, match=r"predict\.json: made by other weights than .*model\.safetensors"):
        tune(run, data)
    write_json(run / "predictions" / "predict.json", {"weights_sha256": own, "members": [{}, {}]})
    with pytest.raises(ValueError, match="an average of 2 runs, expected this run alone"):
        tune(run, data)
    write_json(run / "predictions" / "predict.json", {"weights_sha256": own, "members": [{}]})
    tune(run, data)


@pytest.mark.parametrize("text", ["{", "[]", '{"validation": ["P-000-000"]}', '{"validation": 3, "training": []}'])
def test_a_broken_split_is_named(tmp_path: Path, text: str) -> None:
    run, data = make_run(tmp_path, cases_of(planted_size))
    (run / "split.json").write_text(text)
    with pytest.raises(ValueError, match=r"split\.json: (expected|training missing|validation: expected)"):
        tune(run, data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON, found something else"),
        ("[]", "expected an object in braces"),
        ('{"weights_sha256": 3}', "weights_sha256: expected text, found 3"),
        ('{"members": "two"}', "members: expected a list of objects, found 'two'"),
        ('{"members": ["two"]}', "members: expected a list of objects"),
    ],
)
def test_a_broken_summary_of_the_predictions_is_named(tmp_path: Path, text: str, message: str) -> None:
    run, data = make_run(tmp_path, cases_of(planted_size))
    (run / "predictions" / "predict.json").write_text(text)
    with pytest.raises(ValueError, match=rf"predict\.json: {message}"):
        tune(run, data)
    assert not (run / "decoding.json").exists()


def test_probabilities_that_an_earlier_recipe_left_are_refused(tmp_path: Path) -> None:
    """As where a new prediction was stopped before it came to them."""
    run, data = make_run(tmp_path, cases_of(planted_size))
    write_json(run / "predictions" / "predict.json", {"recipe": "new", "cases": ["P-001-000"]})
    for name, recipe in (("P-000-000", "old"), ("P-001-000", "new")):
        write_json(run / "predictions" / "records" / f"{name}.json", {"recipe": recipe})
    with pytest.raises(ValueError, match=r"1 held-out case were made with other settings .*: P-000-000; run `"):
        tune(run, data)
    write_json(run / "predictions" / "records" / "P-000-000.json", {"recipe": "new"})
    tune(run, data)


def test_the_file_says_which_weights_it_was_chosen_for(tmp_path: Path) -> None:
    run, data = make_run(tmp_path, cases_of(planted_size))
    assert "weights_sha256" not in read_json(tune(run, data).file), "nobody knows"
    write_json(run / "predictions" / "predict.json", {"weights_sha256": "told"})
    assert read_json(tune(run, data).file)["weights_sha256"] == "told"
    (run / "model.safetensors").write_bytes(b"new")
    own = hashlib.sha256(b"new").hexdigest()
    write_json(run / "predictions" / "predict.json", {"weights_sha256": own})
    assert read_json(tune(run, data).file)["weights_sha256"] == own


def test_every_case_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    cases = cases_of(planted_size, 4)
    run, data = make_run(tmp_path, cases)
    folder = run / "predictions" / "probabilities"
    grid = read_image(data / "P-001-000" / "P-001-000-t1c.nii.gz").source
    write_probabilities(folder / "P-000-000.nii.gz", np.zeros((2, *SHAPE), np.float32), grid, ("WT", "TC"))
    write_probabilities(folder / "P-001-000.nii.gz", np.full((3, *SHAPE), np.nan, np.float32), grid, Target().names)
    (folder / "P-002-000.nii.gz").write_bytes((folder / "P-002-000.nii.gz").read_bytes()[:200])
    write_image(
        data / "P-003-000" / "P-003-000-seg.nii.gz", cases["P-003-000"][1].astype(np.uint8), np.diag([1, 1, 3, 1.0])
    )
    with pytest.raises(ValueError, match="held-out cases that cannot be used") as caught:
        tune(run, data)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [f"P-{index:03d}-000" for index in range(4)]
    assert "expected the channels WT TC ET, found WT TC" in lines[0]
    assert "holds NaN" in lines[1]
    assert "truncated" in lines[2]
    assert "lies differently from the reference" in lines[3]


@pytest.mark.parametrize(("voxels", "accepted"), [(0.09, True), (0.11, False)])
def test_a_reference_a_tenth_of_a_voxel_apart_is_the_same_grid(tmp_path: Path, voxels: float, accepted: bool) -> None:
    cases = cases_of(planted_size)
    run, data = make_run(tmp_path, cases, spacing_mm=(2, 1, 3))
    affine = np.diag([2, 1, 3, 1.0])
    affine[2, 3] += voxels
    write_image(data / "P-001-000" / "P-001-000-seg.nii.gz", cases["P-001-000"][1].astype(np.uint8), affine)
    if accepted:
        assert len(tune(run, data).cases) == 3
    else:
        with pytest.raises(ValueError, match=r"P-001-000: .*lies differently from the reference; predict again"):
            tune(run, data)


def test_voxel_sizes_that_the_headers_state_differently(tmp_path: Path) -> None:
    run, data = make_run(tmp_path, cases_of(planted_size))
    file = data / "P-001-000" / "P-001-000-seg.nii.gz"
    image = nibabel.load(file)
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    image.header.set_qform(None, 0)
    for side, accepted in ((1.005, True), (1.02, False)):
        image.header["pixdim"][1] = side
        nibabel.save(image, file)
        if accepted:
            tune(run, data)
        else:
            with pytest.raises(ValueError, match=r"P-001-000: .*lies differently from the reference"):
                tune(run, data)


def test_lesions_are_measured_by_the_voxel_size_of_the_reference(tmp_path: Path) -> None:
    """A lesion of exactly 27 mm3 is a large one; by the prediction's header, 1 % smaller, there would be none."""
    cube = np.zeros(SHAPE)
    cube[4:7, 4:7, 4:7] = 1
    example = np.stack([cube * 0.9] * 3), cube * 3
    run, data = make_run(tmp_path, cases_of(lambda _seed: example))
    for file in (run / "predictions" / "probabilities").iterdir():
        image = nibabel.load(file)
        image = nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header)
        image.header.set_qform(None, 0)
        image.header["pixdim"][1] = 0.9905
        nibabel.save(image, file)
    tuning = tune(run, data, rules="brats2026")
    assert [row.tuned for row in tuning.regions] == [1.0, 1.0, 1.0]


def test_a_label_that_the_rules_refuse_is_named(tmp_path: Path) -> None:
    cases = cases_of(planted_size)
    cases["P-001-000"][1][0, 0, 0] = 8
    run, data = make_run(tmp_path, cases)
    with pytest.raises(ValueError, match=r"P-001-000: .*brats2026 refuses its reference, which holds label 8"):
        tune(run, data, rules="brats2026")
    tune(run, data, rules="brats2023", force=True)


def test_unknown_objective_or_rules(tmp_path: Path) -> None:
    run, data = make_run(tmp_path, cases_of(planted_size))
    with pytest.raises(ValueError, match="objective to be one of lesion_wise_dice, f1, dice; found 'auc'"):
        tune(run, data, objective="auc")
    with pytest.raises(ValueError, match="rules to be one of"):
        tune(run, data, rules="brats1999")


# ---------------------------------------------------------------- what is said


def test_the_verb_prints_a_table_and_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = make_run(tmp_path, cases_of(planted_peak))
    assert main(["tune", str(run), str(data), "--rules", "brats2026", "--jobs", "1"]) == 0
    printed = capsys.readouterr()
    rows = {line.split()[0]: line.split() for line in printed.out.splitlines() if line[:2] in ("WT", "TC", "ET")}
    # At 0.5 one voxel of a lesion's 33 is there: Dice 2 / 34.
    assert rows["ET"][1:7] == ["3", "0.059", "1.000", "1.000", "0.3", "0.5"]
    assert "the tuned score is that of the 3 cases it was chosen on, so optimistic" in printed.out
    assert "3 folds by patient" in printed.out
    assert "3 cases are few" in printed.out
    assert "tune 12/15" in printed.err
    written = read_json(run / "decoding.json")
    assert (written["objective"], written["rules"]) == ("lesion_wise_dice", "brats2026")
    assert written["cases"] == ["P-000-000", "P-001-000", "P-002-000"]
    assert written["scores"]["ET"] == {
        "cases": 3,
        "default": pytest.approx(2 / 34),
        "tuned": 1.0,
        "cross_validated": 1.0,
    }
    assert main(["tune", str(run), str(data / "P-000-000")]) == 2


def test_time_points_of_a_patient_are_left_out_together(tmp_path: Path) -> None:
    cases = {"P-000-000": planted_size(0), "P-000-001": planted_size(1), "P-001-000": planted_size(2)}
    assert tune(*make_run(tmp_path, cases)).folds == 2
    alone = {name: example for name, example in cases.items() if name.startswith("P-000")}
    tuning = tune(*make_run(tmp_path / "alone", alone), force=True)
    assert tuning.folds == 0
    assert all(math.isnan(row.crossed) for row in tuning.regions)
    assert "with one patient there is no cross-validated one" in tuning.caveats()[0]
    assert read_json(tuning.file)["scores"]["ET"]["cross_validated"] is None


def test_a_gain_that_does_not_hold_on_unseen_cases_is_said() -> None:
    from mets3d.tuning.result import RegionTuning

    rows = (RegionTuning("ET", DEFAULT, 30, 0.6, 0.7, 0.55), RegionTuning("WT", DEFAULT, 30, 0.6, 0.7, 0.65))
    said = Tuning("dice", "brats2023", tuple(map(str, range(30))), 10, rows, Path("x")).caveats()
    assert len(said) == 2
    assert "few" not in said[0]
    assert said[1] == "ET: chosen without the case's patient, settings score 0.550, less than the default's 0.600"


def test_a_limit_that_a_peak_stands_in_the_way_of_is_found() -> None:
    # The peak helps first; then neither leaving it out nor a limit beside it helps alone, but both together do.
    values = {
        RegionDecoding(peak=0.7): [0.6],
        RegionDecoding(peak=0.7, min_volume_mm3=4.0): [0.55],
        RegionDecoding(0.4, None, 4.0): [0.9],
        RegionDecoding(0.5, None, 8.0): [0.8],
    }
    found = choose(made_up(values, [0.1]), Target(), GRIDS, EVERYWHERE_05, np.arange(1), lambda name: None)
    assert found["ET"] == RegionDecoding(0.4, None, 4.0)


def test_the_rule_set_is_that_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = make_run(tmp_path, cases_of(planted_size), rules="brats2024")
    assert tune(run, data).rules == "brats2024"
    assert main(["tune", str(run), str(data), "--jobs", "1"]) == 0
    assert "mean lesion_wise_dice by brats2024 (validate.rules of the run)" in capsys.readouterr().out
    assert main(["tune", str(run), str(data), "--jobs", "1", "--rules", "brats2024"]) == 0
    assert "mean lesion_wise_dice by brats2024 (--rules)" in capsys.readouterr().out
