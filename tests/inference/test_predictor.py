"""The predictor in Python: the command's arrays, from arrays, files, folders and the hub."""

import csv
import html
import io
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

import mets3d
from mets3d.data import DataError
from mets3d.data.cases import SEQUENCES
from mets3d.data.nifti import read_image, read_labels, read_probabilities, write_image
from mets3d.files import write_json
from mets3d.inference.lesion_table import LESION_COLUMNS, PLACE, VOXEL
from mets3d.inference.predict import predict
from mets3d.inference.predictor import Predictor
from mets3d.inference.setup import Choices
from tests.builders.runs import forget_accelerator
from tests.inference.test_predict import content, copied, one_case

THRESHOLD = "--predict.threshold=0.06"  # at which the tiny run predicts something


@pytest.fixture(autouse=True)
def fresh_accelerator() -> None:
    forget_accelerator()


@pytest.fixture
def case(phantom_data: Path, tmp_path: Path) -> Path:
    data, name = one_case(phantom_data, tmp_path / "data")
    return data / name


@pytest.fixture
def predictor(trained_run: Path) -> Predictor:
    return Predictor.from_pretrained(trained_run, device="cpu", overrides=[THRESHOLD])


def arrays(case: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    images = [read_image(case / f"{case.name}-{sequence}.nii.gz") for sequence in SEQUENCES]
    return np.stack([image.data for image in images]), images[0].spacing_mm


def test_a_predictor_and_its_result_are_one_line_each(predictor: Predictor, trained_run: Path, case: Path) -> None:
    assert repr(predictor) == f"Predictor({trained_run}: WT TC ET on cpu)"
    by_files, by_array = predictor.predict_files(case), predictor(*arrays(case))
    milliliters = {name: volume / 1000 for name, volume in by_files.volumes_mm3.items()}
    spacing_mm = arrays(case)[1]
    for region in predictor.target.regions:
        voxels = np.count_nonzero(region.mask(by_files.labels))
        assert milliliters[region.name] == pytest.approx(voxels * math.prod(spacing_mm) / 1000)
    shape = " x ".join(map(str, by_files.labels.shape))
    volumes = ", ".join(f"{name} {volume:.3g} ml" for name, volume in milliliters.items())
    assert repr(by_files) == f"Segmentation({case.name}, {shape}: {volumes})"
    assert repr(by_array) == f"Segmentation(array, {shape}: {volumes})"


def test_a_notebook_shows_what_was_found(predictor: Predictor, case: Path) -> None:
    by_files, by_array = predictor.predict_files(case), predictor(*arrays(case))
    names = [*SEQUENCES, "Reference", "Prediction", *(f"Probability of {name}" for name in ("ET", "TC", "WT"))]
    for found, layers in ((by_files, names), (by_array, [name for name in names if name != "Reference"])):
        page = html.unescape(found._repr_html_())
        shown = json.loads(re.search('class="case-data">(.*?)</script>', page, re.DOTALL)[1])
        assert [layer["name"] for layer in shown["layers"]] == [*layers, "Uncertainty"]
        assert page.count("data-mm=") == len(found.lesions) > 0


def test_python_and_the_command_find_equal_arrays(trained_run: Path, case: Path, tmp_path: Path) -> None:
    second = copied(trained_run, tmp_path / "second", seed=1, spacing_mm=[5.0, 4.0, 6.0])
    overrides = [THRESHOLD, "--predict.mirror=[0]"]
    options: dict[str, Any] = {"also": [second], "region_weights": ["WT=2,1"], "overrides": overrides}
    predict(trained_run, case.parent, tmp_path / "out", Choices(**options), probabilities=True)
    predictor = Predictor.from_pretrained(trained_run, device="cpu", **options)
    images, spacing_mm = arrays(case)
    by_array = predictor(images, spacing_mm)
    by_files = predictor.predict_files({name: case / f"{case.name}-{name}.nii.gz" for name in SEQUENCES})
    written = read_probabilities(tmp_path / "out" / "probabilities" / f"{case.name}.nii.gz")
    labels = read_labels(tmp_path / "out" / f"{case.name}.nii.gz").labels
    uncertainty = read_image(tmp_path / "out" / "uncertainty" / f"{case.name}.nii.gz").data
    assert labels.any(), "the test is only of use if something is predicted"
    table = list(csv.DictReader(io.StringIO((tmp_path / "out" / "lesions" / f"{case.name}.csv").read_text())))
    # An array has no place in the scanner, and its voxels are those of the RAS+ array.
    for found, elsewhere in ((by_array, (*PLACE, *VOXEL)), (by_files, VOXEL)):
        np.testing.assert_array_equal(found.labels, labels)
        np.testing.assert_array_equal(found.uncertainty, uncertainty)
        assert list(found.probabilities) == ["WT", "TC", "ET"]
        np.testing.assert_array_equal(np.stack(list(found.probabilities.values())), written.data)
        alike = [column for column in LESION_COLUMNS if column not in elsewhere]
        assert [[str(row[column]) for column in alike] for row in found.lesions] == [
            [row[column] for column in alike] for row in table
        ]
        assert set(found.lesions[0]) == set(LESION_COLUMNS)
        inside = [found.labels[row["i"], row["j"], row["k"]] for row in found.lesions]
        assert all(inside), "a voxel of the lesion"


def test_files_are_written_as_the_command_writes_them(trained_run: Path, case: Path, tmp_path: Path) -> None:
    predict(trained_run, case.parent, tmp_path / "command", probabilities=True, choices=Choices(overrides=[THRESHOLD]))
    predictor = Predictor.from_pretrained(trained_run, device="cpu", overrides=[THRESHOLD])
    predictor.predict_files(case, tmp_path / "folder", probabilities=True)
    files = {name: str(case / f"{case.name}-{name}.nii.gz") for name in SEQUENCES}
    predictor.predict_files(files, tmp_path / "mapping", probabilities=True)
    expected = content(tmp_path / "command")
    del expected[f"records/{case.name}.json"]
    assert len(expected) == 6, "four of the case, and names and colours for two viewers"
    assert content(tmp_path / "folder") == content(tmp_path / "mapping") == expected
    predictor.predict_files(case, tmp_path / "fewer")
    assert not (tmp_path / "fewer" / "probabilities").exists()


def test_an_exported_folder_is_enough_and_brings_its_decoding(trained_run: Path, case: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    for name in ("config.yaml", "plan.json", "model.safetensors"):
        shutil.copy(trained_run / name, folder)
    images, spacing_mm = arrays(case)
    plain = Predictor.from_pretrained(str(folder))(images, spacing_mm)
    write_json(folder / "decoding.json", {"regions": {"WT": {"threshold": 0.05}}})
    tuned = Predictor.from_pretrained(folder)(images, spacing_mm)
    np.testing.assert_array_equal(tuned.probabilities["WT"], plain.probabilities["WT"])
    only_wt = (plain.probabilities["WT"] > 0.05) & (plain.labels == 0)
    assert only_wt.any()
    np.testing.assert_array_equal(tuned.labels, np.where(only_wt, 2, plain.labels))
    default = Predictor.from_pretrained(folder, decoding="default")(images, spacing_mm)
    np.testing.assert_array_equal(default.labels, plain.labels)


def test_a_hub_id_is_fetched_only_where_no_such_folder_is(
    trained_run: Path, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Any]] = []

    def fetched(repo: str, *, allow_patterns: Any) -> str:
        asked.append((repo, allow_patterns))
        return str(trained_run)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    monkeypatch.chdir(tmp_path)
    assert Predictor.from_pretrained("someone/mets").sequences == SEQUENCES
    assert asked == [("someone/mets", ["config.yaml", "plan.json", "model.safetensors", "decoding.json"])]
    copied(trained_run, tmp_path / "someone" / "mets")
    Predictor.from_pretrained("someone/mets")
    assert len(asked) == 1
    with pytest.raises(FileNotFoundError, match="nowhere/at/all: no such folder; name a run directory, or org"):
        Predictor.from_pretrained("nowhere/at/all")

    def offline(repo: str, *, allow_patterns: Any) -> str:
        raise LocalEntryNotFoundError("no connection\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(FileNotFoundError, match=r"other/mets: no such folder here, .* hub: no connection$"):
        Predictor.from_pretrained("other/mets")


def test_precision_is_the_runs_unless_asked(trained_run: Path, case: Path, tmp_path: Path) -> None:
    images, spacing_mm = arrays(case)
    plain = Predictor.from_pretrained(trained_run, device="cpu")(images, spacing_mm).probabilities["WT"]
    half = Predictor.from_pretrained(trained_run, device="cpu", precision="bf16")(images, spacing_mm)
    assert 0 < np.abs(plain - half.probabilities["WT"]).max() < 0.1
    run = copied(trained_run, tmp_path / "run")
    (run / "config.yaml").write_text(
        re.sub("(?m)^precision: .*$", "precision: bf16", (run / "config.yaml").read_text())
    )
    own = Predictor.from_pretrained(run, device="cpu")(images, spacing_mm)
    np.testing.assert_array_equal(own.probabilities["WT"], half.probabilities["WT"])
    full = Predictor.from_pretrained(run, device="cpu", precision="no")(images, spacing_mm)
    np.testing.assert_array_equal(full.probabilities["WT"], plain)


def test_integers_and_other_spacings_are_taken(trained_run: Path, case: Path) -> None:
    images, _ = arrays(case)
    predictor = Predictor.from_pretrained(trained_run, device="cpu", overrides=[THRESHOLD])
    found = predictor(images.astype(np.int16), [2, 2, 3])
    assert found.labels.shape == images.shape[1:]
    assert found.lesions
    voxels = sum(row["voxels"] for row in found.lesions if row["region"] == "WT")
    assert sum(row["volume_mm3"] for row in found.lesions if row["region"] == "WT") == pytest.approx(12 * voxels)


def test_bad_arrays_and_files_are_named(trained_run: Path, case: Path, tmp_path: Path) -> None:
    predictor = Predictor.from_pretrained(trained_run, device="cpu")
    images, spacing_mm = arrays(case)
    with pytest.raises(ValueError, match=r"expected 4 channels \(t1n, t1c, t2w, t2f\), found 3"):
        predictor(images[:3], spacing_mm)
    with pytest.raises(DataError, match="expected a brain, found zeros"):
        predictor(np.zeros_like(images), spacing_mm)
    images[1, 20, 20, 20] = np.nan
    with pytest.raises(DataError, match="t1c is NaN or infinite in 1 voxel"):
        predictor(images, spacing_mm)
    files = {name: case / f"{case.name}-{name}.nii.gz" for name in SEQUENCES}
    with pytest.raises(DataError, match="missing"):
        predictor.predict_files({name: file for name, file in files.items() if name != "t2w"})
    with pytest.raises(DataError, match="missing"):
        predictor.predict_files({})
    files["t2w"].unlink()
    with pytest.raises(DataError, match="t2w"):
        predictor.predict_files(case)
    shutil.copytree(case, tmp_path / "data" / "two" / "another")
    (tmp_path / "data" / "two" / "another" / f"{case.name}-t1c.nii.gz").rename(
        tmp_path / "data" / "two" / "another" / "another-t1c.nii.gz"
    )
    with pytest.raises(DataError, match="expected the folder of one case, found 2 cases"):
        predictor.predict_files(tmp_path / "data")


@pytest.mark.parametrize(
    "spacing_mm",
    [[1, 1], [1, 1, 1, 1], [1, 1, 0], [1, 1, -1], [1, 1, np.nan], [1, np.inf, 1], 1.0, "111", [1, 1, "1"], None],
    ids=str,
)
def test_a_spacing_that_is_none_is_named(predictor: Predictor, case: Path, spacing_mm: Any) -> None:
    images, _ = arrays(case)
    with pytest.raises(ValueError, match="spacing_mm: expected three numbers above 0, in mm, along X, Y, Z; found"):
        predictor(images, spacing_mm)


def test_images_that_are_none_are_named(predictor: Predictor, case: Path) -> None:
    images, spacing_mm = arrays(case)
    for wrong, found in (
        (images[0], r"found shape \(\d+, \d+, \d+\)"),
        (images[None], "found shape"),
        (images > 0, "found bool"),
        (images.astype(complex), "found complex"),
        (images.astype(str), "found <U"),
        (np.zeros((4, 0, 3, 3)), "found shape"),
        ([[1, 2], [3]], "found list"),
        ("images.npy", "found <U"),
        (None, "found object"),
    ):
        with pytest.raises(ValueError, match=rf"images: expected .*numbers \[4, X, Y, Z\].*{found}"):
            predictor(wrong, spacing_mm)


def test_tensors_are_taken_as_arrays(predictor: Predictor, case: Path) -> None:
    images, spacing_mm = arrays(case)
    expected = predictor(images, spacing_mm).probabilities["WT"]
    tensor = torch.from_numpy(images).requires_grad_()
    for given in (tensor, tensor.double().detach(), list(images)):
        np.testing.assert_array_equal(predictor(given, torch.tensor(spacing_mm)).probabilities["WT"], expected)
    half = predictor(tensor.to(torch.bfloat16), np.array(spacing_mm)).probabilities["WT"]
    assert 0 < np.abs(half - expected).max() < 0.1


def test_one_word_is_one_word(trained_run: Path, case: Path, tmp_path: Path) -> None:
    second = copied(trained_run, tmp_path / "second", seed=1)
    for also in (second, str(second)):
        one = Predictor.from_pretrained(
            trained_run, device="cpu", also=also, region_weights="WT=2,1", overrides=THRESHOLD
        )
        assert [member.run.path for member in one.ensemble.members] == [trained_run, second]
        np.testing.assert_allclose(one.ensemble.shares[:, 0], [2 / 3, 1 / 3])
        assert one.decoding["WT"].threshold == 0.06


def test_a_precision_that_is_none_is_named(trained_run: Path) -> None:
    with pytest.raises(ValueError, match="precision: expected no, fp16, bf16 or None, found 'fp32'"):
        Predictor.from_pretrained(trained_run, precision="fp32")


def test_a_threshold_that_the_decoding_overrules_is_refused(trained_run: Path, tmp_path: Path) -> None:
    run = copied(trained_run, tmp_path / "run")
    write_json(run / "decoding.json", {"regions": {"WT": {"threshold": 0.05}}})
    with pytest.raises(ValueError, match=r"--predict\.threshold=0\.06: .*--decoding default"):
        Predictor.from_pretrained(run, overrides=[THRESHOLD])
    assert Predictor.from_pretrained(run, overrides=[THRESHOLD], decoding="default").decoding["WT"].threshold == 0.06


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("P1-001_t1c.nii.gz", "P1-001"),
        ("P1-001-t1c.nii", "P1-001"),
        ("P1-001_T1CE.nii.gz", "P1-001"),
        ("P1-001-flair.nii.gz", "P1-001"),
        ("P1-001.nii.gz", "P1-001"),
        ("P1_t1_t2.nii.gz", "P1_t1"),
        ("not1.nii.gz", "not1"),
        ("t1c.nii.gz", "scans"),
    ],
)
def test_a_file_names_its_case_without_its_sequence(
    predictor: Predictor, case: Path, tmp_path: Path, file: str, name: str
) -> None:
    files = {name: case / f"{case.name}-{name}.nii.gz" for name in SEQUENCES}
    (tmp_path / "scans").mkdir()
    image = read_image(files["t1c"])
    files["t1c"] = tmp_path / "scans" / file
    write_image(files["t1c"], image.data, image.affine)
    predictor.predict_files(files, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("*.nii.gz")] == [f"{name}.nii.gz"]


def test_no_stale_record_is_left_beside_files_that_python_wrote(
    trained_run: Path, predictor: Predictor, case: Path, tmp_path: Path
) -> None:
    predict(trained_run, case.parent, tmp_path / "out", probabilities=True)
    predictor.predict_files(case, tmp_path / "out")
    assert sorted(content(tmp_path / "out")) == [
        f"{case.name}.nii.gz",
        "labels_3d_slicer.ctbl",
        "labels_itk_snap.txt",
        f"lesions/{case.name}.csv",
        f"uncertainty/{case.name}.nii.gz",
    ]


def test_the_package_offers_it_without_importing_torch_or_accelerate() -> None:
    assert mets3d.Predictor is Predictor
    assert not hasattr(mets3d, "Nothing")
    code = "import sys, mets3d; print('torch' in sys.modules); mets3d.Predictor; print('accelerate' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.gpu
def test_the_first_gpu_is_taken_where_there_is_one(trained_run: Path, case: Path) -> None:
    images, spacing_mm = arrays(case)
    expected = Predictor.from_pretrained(trained_run, device="cpu")(images, spacing_mm)
    predictor = Predictor.from_pretrained(trained_run)
    assert predictor.ensemble.device == torch.device("cuda")
    found = predictor(images, spacing_mm)
    np.testing.assert_allclose(found.probabilities["WT"], expected.probabilities["WT"], atol=2e-3)
