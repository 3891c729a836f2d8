"""Scanners of several sites, and the files that tell which case is whose."""

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mets3d.__main__ import main
from mets3d.data.cases import find_cases
from mets3d.data.folds_file import read_split
from mets3d.phantoms.anatomy import frame_of
from mets3d.phantoms.sites import HELD_OUT, SITES, Site, scan, slices
from mets3d.phantoms.synth import synthesise

SHAPE, SPACING = (30, 36, 30), (5.0, 5.0, 5.0)


def test_slices_average_planes_and_come_back_to_them() -> None:
    frame = frame_of((30, 36, 140), (5.0, 5.0, 1.0))
    planes = len(frame.axes[2])
    for thickness in (1.5, 2.5, 3.0):
        acquire, restore = slices(frame, thickness)
        np.testing.assert_allclose(acquire.sum(1), 1, rtol=1e-6)
        np.testing.assert_allclose(restore.sum(1), 1, rtol=1e-6)
        ramp = np.arange(planes, dtype=np.float32)
        np.testing.assert_allclose((restore @ acquire @ ramp)[5:-5], ramp[5:-5], atol=0.2)
    dot = np.zeros(planes, dtype=np.float32)
    dot[planes // 2] = 1
    acquire, restore = slices(frame, 3.0)
    assert (restore @ acquire @ dot).max() <= 1 / 3 + 1e-6  # a third of the slice
    same, _ = slices(frame, 1.0)
    np.testing.assert_array_equal(same, np.eye(planes))


def test_a_site_has_its_noise_and_its_scale() -> None:
    frame = frame_of((70, 90, 68), (2.0, 2.0, 2.0))
    shape = tuple(len(axis) for axis in frame.axes)
    brain = np.ones(shape, dtype=bool)
    plain = Site("X", 3.0, (1.0,) * 4, 0.0, 0.08, 0.0, (500, 500.1), (1.0,) * 4)
    images = np.ones((4, *shape), dtype=np.float32)
    scanned = scan(np.random.default_rng(0), plain, images, brain, frame).astype(float)
    np.testing.assert_allclose(scanned.mean((1, 2, 3)), 500, rtol=0.01)
    np.testing.assert_allclose(scanned.std((1, 2, 3)), 500 * 0.08 / np.sqrt(8), rtol=0.02)
    brain[:3] = False
    assert not scan(np.random.default_rng(0), plain, images, brain, frame)[:, :3].any()


def test_the_site_held_out_is_unlike_the_others() -> None:
    others = [site for site in SITES if site is not HELD_OUT]
    assert len(others) == 4
    assert len({site.name for site in SITES}) == 5
    assert HELD_OUT.noise > max(site.noise for site in others)
    assert HELD_OUT.blur_mm > max(site.blur_mm for site in others)
    assert min(HELD_OUT.slice_mm) == 3.0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sites")
    synthesise(out, 6, 1, shape=SHAPE, spacing_mm=SPACING, difficulty="mets", annotation_noise=0.5)
    return out


def test_one_setting_trains_on_four_sites_and_holds_the_fifth_out(data: Path) -> None:
    with (data / "sites.csv").open(encoding="utf-8") as file:
        sites = {row["case"]: row["site"] for row in csv.DictReader(file)}
    patients = {case.name: case.patient for case in find_cases(data)}
    assert sites.keys() == patients.keys()
    assert set(sites.values()) == set("ABCDE")
    entries, remarks = read_split(data / "splits_by_site.json", patients)
    assert remarks == []
    assert len(entries) == 5
    for entry, held_out in zip(entries, "EABCD", strict=True):
        assert {sites[name] for name in entry["val"]} == {held_out}
        assert {sites[name] for name in entry["train"]} == set("ABCDE") - {held_out}
    assert json.loads((data / "splits_by_site.json").read_text())[0]["val"] == entries[0]["val"]


def test_the_truth_lies_beside_noisy_references(data: Path) -> None:
    differ = 0
    for case in find_cases(data):
        true = np.asarray(nibabel.load(data / "truth" / f"{case.name}-seg.nii.gz").dataobj)
        drawn = np.asarray(nibabel.load(case.labels).dataobj)
        differ += int((true != drawn).any())
    assert differ >= 3


def test_a_later_call_leaves_no_wrong_sites_or_truth(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(tmp_path), "--shape", "30", "36", "30", "--spacing", "5", "--cases"]
    assert main(["synth", *words, "1", "--difficulty", "mets", "--annotation-noise", "0.2"]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"BraTS-MET-90001-000", "sites.csv", "truth"}  # one case leaves nothing to train on
    assert main(["synth", *words, "1"]) == 0
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and "BraTS" not in path.name] == []
    assert not list((tmp_path / "truth").iterdir())
    (tmp_path / "BraTS-MET-90002-000").mkdir()
    capsys.readouterr()
    assert main(["synth", *words, "1"]) == 0
    assert "\n1 more there from before, left as found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sites.csv", "hospital,scanner\nA,3 T\n"),
        ("sites.csv", ""),
        ("sites.csv", "a folder"),
        ("splits_by_site.json", '[{"train": ["P1"], "val": ["P2"]}]'),
        ("splits_by_site.json", "7"),
        ("splits_by_site.json", "{"),
    ],
)
def test_a_file_of_somebody_else_is_neither_removed_nor_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    file = tmp_path / name
    if content == "a folder":
        file.mkdir()
    else:
        file.write_text(content, encoding="utf-8")
    before = None if file.is_dir() else file.read_bytes()
    words = ["synth", str(tmp_path), "--shape", "30", "36", "30", "--spacing", "5", "--cases", "1"]
    assert main([*words, "--difficulty", "mets"]) == 2
    assert f"{file}: is no file of phantoms' sites, and would be replaced" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert main(words) == 0
    assert (None if file.is_dir() else file.read_bytes()) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--annotation-noise=2"], "annotation noise: expected a number from 0 to 1, found 2.0"),
        (["--annotation-noise=nan"], "annotation noise: expected a number from 0 to 1, found nan"),
        (["--difficulty=hard"], "invalid choice: 'hard'"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], said: str
) -> None:
    try:
        code = main(["synth", str(tmp_path / "out"), *words])
    except SystemExit as leaving:
        code = leaving.code
    assert code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
