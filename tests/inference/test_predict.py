"""A finished run, or several, meet cases."""

import csv
import gc
import hashlib
import os
import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mets3d.__main__ import main
from mets3d.data import not_usable
from mets3d.data.nifti import read_image, read_labels, read_probabilities, write_image
from mets3d.files import read_json, write_json
from mets3d.inference import ensemble, outputs, pipeline
from mets3d.inference import predict as module
from mets3d.inference.ensemble import Ensemble
from mets3d.inference.members import load_members, load_network
from mets3d.inference.predict import Prediction
from mets3d.inference.predictor import Predictor
from mets3d.inference.setup import Choices, set_up
from mets3d.models.originals.transunet import from_original
from mets3d.models.transunet import TransUNet
from mets3d.regions import Target
from mets3d.release.import_original import write_run
from mets3d.rundir import RunDir, open_run
from tests.builders.runs import forget_accelerator
from tests.builders.warm import launch, python
from tests.models.originals.test_transunet import original


@pytest.fixture(autouse=True)
def fresh_accelerator() -> None:
    forget_accelerator()


CHOICES = ("also", "region_weights", "decoding", "overrides")


def predict(run: Path, data: Path, out: Path | None = None, **words: Any) -> Prediction:
    """`predict` with what a user chose as words of its own."""
    choices = Choices(**{word: words.pop(word) for word in CHOICES if word in words})
    return module.predict(run, data, out, choices, **words)


def test_label_maps_lie_on_the_cases_own_grid(trained_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    result = predict(trained_run, phantom_data, tmp_path / "out")
    assert not result.failures
    assert len(result.cases) == 6
    for name in result.cases:
        image = nibabel.load(phantom_data / name / f"{name}-t1c.nii.gz")
        labels = nibabel.load(tmp_path / "out" / f"{name}.nii.gz")
        assert labels.shape == image.shape
        np.testing.assert_array_equal(labels.affine, image.affine)
        assert np.issubdtype(labels.get_data_dtype(), np.integer)
        assert set(np.unique(np.asarray(labels.dataobj))) <= {0, 1, 2, 3}


def test_held_out_cases_go_to_the_run_with_their_provenance(trained_run: Path, phantom_data: Path) -> None:
    result = predict(trained_run, phantom_data, held_out=True)
    run = RunDir(trained_run)
    assert result.cases == read_json(run.split)["validation"]
    told = read_json(Path(run.predictions) / "predict.json")
    assert told["data"] == str(phantom_data.resolve())
    assert told["cases"] == result.cases
    assert told["weights_sha256"] == hashlib.sha256(Path(run.weights).read_bytes()).hexdigest()


@pytest.mark.parametrize(("voxels", "accepted"), [(0.09, True), (0.11, False)])
def test_a_reference_a_tenth_of_a_voxel_apart_is_the_same_grid(
    trained_run: Path, phantom_data: Path, tmp_path: Path, voxels: float, accepted: bool
) -> None:
    name = sorted(folder.name for folder in phantom_data.iterdir())[0]
    shutil.copytree(phantom_data / name, tmp_path / "data" / name)
    reference = read_labels(tmp_path / "data" / name / f"{name}-seg.nii.gz")
    affine = reference.affine.copy()
    affine[0, 3] += voxels * min(reference.spacing_mm)
    write_image(tmp_path / "data" / name / f"{name}-seg.nii.gz", reference.labels, affine)
    if accepted:
        assert predict(trained_run, tmp_path / "data", tmp_path / "out").cases == [name]
    else:
        with pytest.raises(ValueError, match=f"{name}: affines differ"):
            predict(trained_run, tmp_path / "data", tmp_path / "out")


def test_another_orientation_gives_the_same_labels_in_space(
    trained_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    data, name = one_case(phantom_data, tmp_path / "data")
    turned = tmp_path / "turned" / name
    turned.mkdir(parents=True)
    for sequence in ("t1n", "t1c", "t2w", "t2f"):
        image = nibabel.load(phantom_data / name / f"{name}-{sequence}.nii.gz")
        ras = nibabel.as_closest_canonical(image)
        to_lpi = nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt("PSL")
        )
        nibabel.save(ras.as_reoriented(to_lpi), turned / f"{name}-{sequence}.nii.gz")
    predict(trained_run, tmp_path / "turned", tmp_path / "b")
    predict(trained_run, data, tmp_path / "a")
    one, two = (read_labels(tmp_path / folder / f"{name}.nii.gz") for folder in ("a", "b"))
    assert np.array_equal(one.labels, two.labels)
    np.testing.assert_allclose(one.affine, two.affine, atol=1e-4)
    assert nibabel.aff2axcodes(nibabel.load(tmp_path / "b" / f"{name}.nii.gz").affine) == ("P", "S", "L")


def test_probabilities_decode_to_the_labels(trained_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    result = predict(trained_run, phantom_data, tmp_path / "out", probabilities=True, held_out=True)
    name = result.cases[0]
    stored = read_probabilities(tmp_path / "out" / "probabilities" / f"{name}.nii.gz")
    assert stored.names == ("WT", "TC", "ET")
    assert stored.data.dtype == np.float32
    labels = read_labels(tmp_path / "out" / f"{name}.nii.gz").labels
    assert np.array_equal(Target().decode(stored.data), labels)
    assert sorted(file.name for file in (tmp_path / "out").glob("*.nii.gz")) == [f"{n}.nii.gz" for n in result.cases]


def test_a_copied_run_predicts_without_its_store(trained_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.yaml", "plan.json", "model.safetensors"):
        shutil.copy(trained_run / name, copy)
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("store:", "store: gone/").replace("gone/ ", "gone/"))
    assert len(predict(copy, phantom_data, tmp_path / "out").cases) == 6
    with pytest.raises(FileNotFoundError, match="held-out cases are unknown"):
        predict(copy, phantom_data, held_out=True)


def test_bad_input_is_named_before_the_first_case(trained_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"not a complete run directory: config\.yaml, plan\.json, model\.safetensors"
    ):
        predict(phantom_data, phantom_data)
    partial = tmp_path / "partial"
    shutil.copytree(phantom_data, partial)
    name = sorted(folder.name for folder in partial.iterdir())[2]
    (partial / name / f"{name}-t2w.nii.gz").unlink()
    with pytest.raises(ValueError, match=rf"{name}: .*t2w"):
        predict(trained_run, partial, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    shutil.rmtree(partial / name)
    held_out = read_json(RunDir(trained_run).split)["validation"]
    shutil.rmtree(partial / held_out[0], ignore_errors=True)
    with pytest.raises(FileNotFoundError, match=f"lacks .* held-out cases: .*{held_out[0]}"):
        predict(trained_run, partial, held_out=True)


def without(data: Path, to: Path, *files: str) -> tuple[Path, list[str]]:
    """A copy of the data of which some cases lack a file, each by the place of the case and the file's kind."""
    shutil.copytree(data, to)
    names = sorted(folder.name for folder in to.iterdir())
    for place_and_kind in files:
        place, kind = place_and_kind.split()
        (to / names[int(place)] / f"{names[int(place)]}-{kind}.nii.gz").unlink()
    return to, names


def test_cases_that_cannot_be_predicted_are_listed_and_the_others_predicted(
    trained_run: Path, phantom_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, names = without(phantom_data, tmp_path / "data", "1 t2w")
    unreadable = data / names[2] / f"{names[2]}-t1n.nii.gz"
    unreadable.write_bytes(b"no image")
    words = ["predict", str(trained_run), str(data), str(tmp_path / "out")]
    assert main([*words, "--on-error", "stop"]) == 2
    message = capsys.readouterr().err
    assert "--on-error skip predicts the others" in message
    assert names[1] in message
    assert names[2] in message
    assert not (tmp_path / "out").exists()
    good = [name for name in names if name not in (names[1], names[2])]
    for _ in range(2):
        assert main([*words, "--on-error", "skip"]) == 1
        printed = capsys.readouterr()
        assert f"mets3d predict: {names[1]}: missing sequence" in printed.err
        assert f"2 cases could not be used, listed in {tmp_path / 'out' / 'not_usable.csv'}" in printed.err
        assert sorted(file.name for file in (tmp_path / "out").glob("*.nii.gz")) == [f"{name}.nii.gz" for name in good]
        told = read_json(tmp_path / "out" / "predict.json")
        assert (told["asked"], told["cases"], sorted(told["failures"])) == (names, good, [names[1], names[2]])
    assert "4 of them were there already" in printed.out
    with (tmp_path / "out" / "not_usable.csv").open(newline="") as stream:
        assert {row["case"]: row["reason"] for row in csv.DictReader(stream)} == told["failures"]
    shutil.copy(phantom_data / names[2] / unreadable.name, unreadable)
    shutil.copy(phantom_data / names[1] / f"{names[1]}-t2w.nii.gz", data / names[1])
    result = predict(trained_run, data, tmp_path / "out")
    assert (result.cases, result.skipped) == (names, good)
    assert not (tmp_path / "out" / "not_usable.csv").exists()


@pytest.mark.parametrize(("many", "predicted"), [(7, 0), (6, 5)])
def test_from_many_cases_on_the_good_ones_are_predicted_without_being_asked(
    trained_run: Path, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int, predicted: int
) -> None:
    monkeypatch.setattr(not_usable, "MANY_CASES", many)
    data, names = without(phantom_data, tmp_path / "data", "0 t1c")
    if not predicted:
        with pytest.raises(ValueError, match=f"{names[0]}: missing sequence"):
            predict(trained_run, data, tmp_path / "out")
        return
    result = predict(trained_run, data, tmp_path / "out")
    assert (len(result.cases), list(result.failures)) == (predicted, names[:1])


def test_how_files_are_read_can_be_changed_and_what_was_trained_on_is_not_asked_for(
    trained_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    data, name = one_case(phantom_data, tmp_path / "data")
    run = copied(trained_run, tmp_path / "run")
    text = (run / "config.yaml").read_text()
    for key in ("exclude", "overlay"):
        text = text.replace(f"  {key}: null", f"  {key}: gone_since")
    (run / "config.yaml").write_text(text)
    assert "gone_since" in text
    assert predict(run, data, tmp_path / "out", overrides=["--data.grids=t1c"]).cases == [name]
    assert set_up(run, Choices(overrides=["--data.missing_sequences=zero"])).config.data.missing_sequences == "zero"
    with pytest.raises(ValueError, match=r"data\.sequences: belongs to the training"):
        predict(run, data, tmp_path / "out", overrides=["--data.sequences=[t1c]"])


def test_weights_of_another_network_are_refused_by_tensor(
    trained_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained_run, copy)
    save_file({"other.weight": torch.zeros(2)}, copy / "model.safetensors")
    with pytest.raises(ValueError, match=r"another network:\n  other.weight: only in the file"):
        predict(copy, phantom_data, tmp_path / "out")
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="not a safetensors file"):
        predict(copy, phantom_data, tmp_path / "out")
    assert main(["predict", str(copy), str(phantom_data), str(tmp_path / "out")]) == 1


def test_missing_and_unfit_weights_end_the_command_with_1(
    trained_run: Path, phantom_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(trained_run, tmp_path / "run")
    weights, whole = run / "model.safetensors", (run / "model.safetensors").read_bytes()
    words = ["predict", str(run), str(phantom_data), str(tmp_path / "out")]
    header = b'{"a":{"dtype":"F32","shape":[1],"offsets":[0,4]}}'
    for content_, message in (
        (whole[:-1], "not a safetensors file, or truncated"),
        (whole[:5], "not a safetensors file, or truncated"),
        (b"", "not a safetensors file, or truncated"),
        (len(header).to_bytes(8, "little") + header + b"0000", "not a safetensors file, or truncated"),
        ((2).to_bytes(8, "little") + b"[]", "not a safetensors file, or truncated"),
        (whole.replace(b'"F32"', b'"I12"', 1), "not a safetensors file, or truncated"),
        (None, "model.safetensors missing"),
    ):
        weights.unlink(missing_ok=True)
        if content_ is not None:
            weights.write_bytes(content_)
        assert main(words) == 1, message
        told = capsys.readouterr().err
        assert told.count("mets3d predict:") == 1
        assert message in told
    assert main(["predict", str(phantom_data), str(phantom_data), str(tmp_path / "out")]) == 2
    assert main(["predict", str(tmp_path / "nowhere"), str(phantom_data), str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_a_case_that_fails_is_named_and_the_others_are_written(
    trained_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(phantom_data, broken)
    name = sorted(folder.name for folder in broken.iterdir())[1]
    scan = broken / name / f"{name}-t1c.nii.gz"
    scan.write_bytes(scan.read_bytes()[:2000])
    result = predict(trained_run, broken, tmp_path / "out")
    assert list(result.failures) == [name]
    assert f"{name}-t1c.nii.gz" in result.failures[name]
    assert len(result.cases) == 5
    assert not (tmp_path / "out" / f"{name}.nii.gz").exists()


def test_an_imported_checkpoint_is_a_run_directory(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = original(TransUNet("decoder", features=32, strides=((2, 2, 2),) * 3, patch=(32, 32, 32), width=96))
    file = tmp_path / "model_best.model"
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    run = write_run(file, tmp_path / "imported", patch=(32, 32, 32))
    opened = open_run(run, needs=("config", "plan", "weights"))
    config = opened.load_config()
    network = load_network(opened, config, Target(), 4)
    assert config.name == "imported"
    image = torch.randn(1, 4, 32, 32, 32)
    expected = from_original(state, patch=(32, 32, 32)).eval()(image)
    assert torch.equal(network.eval()(image).probabilities, expected.probabilities)
    with pytest.raises(FileExistsError, match="imported exists"):
        write_run(file, tmp_path / "imported", patch=(32, 32, 32))
    with pytest.raises(ValueError, match="4 classes for target labels"):
        write_run(file, tmp_path / "labels", patch=(32, 32, 32), target="labels")
    assert not (tmp_path / "labels").exists()


def test_an_imported_checkpoint_may_have_two_channels(tmp_path: Path) -> None:
    network = TransUNet("decoder", in_channels=2, features=32, strides=((2, 2, 2),) * 3, patch=(32, 32, 32), width=96)
    file = tmp_path / "model_best.model"
    torch.save({"epoch": 3, "state_dict": original(network)}, file)
    with pytest.raises(ValueError, match=r"expected 4 input channels \(t1n, t1c, t2w, t2f\), found 2; name them"):
        write_run(file, tmp_path / "imported", patch=(32, 32, 32))
    run = write_run(file, tmp_path / "imported", patch=(32, 32, 32), sequences=("t1c", "t2f"))
    (member,) = load_members([run])
    assert member.plan.sequences == member.config.data.sequences == ("t1c", "t2f")


# ---------------------------------------------------------------- what lies beside a label map


def test_uncertainty_and_lesions_lie_beside_each_label_map(
    trained_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    overrides = ["--predict.threshold=0.06"]  # the tiny run is that unsure
    result = predict(trained_run, phantom_data, tmp_path, probabilities=True, overrides=overrides)
    rows = 0
    for name in result.cases:
        probabilities = read_probabilities(tmp_path / "probabilities" / f"{name}.nii.gz").data.astype(np.float64)
        image = nibabel.load(phantom_data / name / f"{name}-t1c.nii.gz")
        written = nibabel.load(tmp_path / "uncertainty" / f"{name}.nii.gz")
        np.testing.assert_array_equal(written.affine, image.affine)
        clipped = probabilities.clip(1e-12, 1 - 1e-12)
        bits = (-clipped * np.log2(clipped) - (1 - clipped) * np.log2(1 - clipped)).max(0)
        uncertainty = read_image(tmp_path / "uncertainty" / f"{name}.nii.gz").data
        np.testing.assert_allclose(uncertainty, bits, atol=1e-5)
        labels = read_labels(tmp_path / f"{name}.nii.gz").labels
        assert np.array_equal(labels, Target().decode(probabilities, 0.06))
        with (tmp_path / "lesions" / f"{name}.csv").open() as file:
            lesions = list(csv.DictReader(file))
        for region in Target().regions:
            voxels = [int(row["voxels"]) for row in lesions if row["region"] == region.name]
            assert sum(voxels) == region.mask(labels).sum()
        rows += len(lesions)
    assert rows, "the test is only of use if something is predicted"


def test_tuned_decoding_counts_where_it_is_there_and_not_asked_away(
    trained_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    data, name = one_case(phantom_data, tmp_path / "data")
    run = copied(trained_run, tmp_path / "run")
    write_json(run / "decoding.json", {"regions": {"WT": {"threshold": 0.05}, "TC": {"threshold": 0.99}}})
    predict(run, data, tmp_path / "tuned", probabilities=True)
    told = read_json(tmp_path / "tuned" / "predict.json")
    assert told["decoding"]["WT"]["threshold"] == 0.05
    assert told["decoding"]["ET"]["threshold"] == 0.5
    assert told["decoding_from"] == str(run.resolve() / "decoding.json")
    found = read_probabilities(tmp_path / "tuned" / "probabilities" / f"{name}.nii.gz").data
    labels = read_labels(tmp_path / "tuned" / f"{name}.nii.gz").labels
    assert np.array_equal(labels > 0, (found[0] > 0.05) | (found[1] > 0.99) | (found[2] > 0.5))
    predict(run, data, tmp_path / "plain", decoding="default")
    assert read_json(tmp_path / "plain" / "predict.json")["decoding_from"] == "default"
    plain = read_labels(tmp_path / "plain" / f"{name}.nii.gz").labels
    assert np.array_equal(plain, Target().decode(found))
    elsewhere = tmp_path / "mine.json"
    shutil.copy(run / "decoding.json", elsewhere)
    predict(trained_run, data, tmp_path / "file", decoding=str(elsewhere))
    assert np.array_equal(read_labels(tmp_path / "file" / f"{name}.nii.gz").labels, labels)
    predict(run, data, tmp_path / "two", also=[trained_run])
    assert read_json(tmp_path / "two" / "predict.json")["decoding_from"] == "default", (
        "it was not tuned for the average"
    )


def test_a_patient_that_the_tuning_knew_is_decoded_without_what_they_decided(
    trained_run: Path, phantom_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Label map, record, note and the line on the console; a rerun knows the difference."""
    run, data = copied(trained_run, tmp_path / "run"), tmp_path / "data"
    one, two = read_json(run / "split.json")["validation"]
    new = read_json(run / "split.json")["training"][0]
    for name in (one, two, new):
        shutil.copytree(phantom_data / name, data / name)
    thresholds = {one: 0.03, two: 0.06, new: 0.09}
    content = {
        "regions": {"WT": {"threshold": thresholds[new]}},
        "folds": [
            {"patients": [name.removesuffix("-000")], "regions": {"WT": {"threshold": thresholds[name]}}}
            for name in (one, two)
        ],
        "patients": {name: name.removesuffix("-000") for name in (one, two)},
        "objective": "f1",
        "rules": "brats2023",
        "cases": [one, two],
    }
    write_json(run / "decoding.json", content)
    out = tmp_path / "out"
    assert main(["predict", str(run), str(data), str(out), "--probabilities"]) == 0
    printed = capsys.readouterr().out
    assert f"decoding: {run / 'decoding.json'}, tuned by brats2023 (" in printed
    assert "2 cases tuned out-of-fold" in printed
    assert "1 case tuned (new case)" in printed
    assert "); `--decoding default` predicts without it" in printed
    assert "was tuned by brats2023, and the rule set of the run (validate.rules)" in printed
    note = read_json(out / "predict.json")
    assert (note["decoding_rules"], note["decoding_forced"]) == ("brats2023", [])
    assert set(note["decoded"]) == {one, two}
    for name, threshold in thresholds.items():
        found = read_probabilities(out / "probabilities" / f"{name}.nii.gz").data
        labels = read_labels(out / f"{name}.nii.gz").labels
        assert np.array_equal(labels > 0, (found[0] > threshold) | (found[1] > 0.5) | (found[2] > 0.5))
        how = "tuned (new case)" if name == new else "tuned out-of-fold"
        record = read_json(out / "records" / f"{name}.json")
        assert (record["decoding"], record["decoding_rules"]) == (how, "brats2023")
        assert name == new or note["decoded"][name]["regions"]["WT"]["threshold"] == threshold
    assert len(predict(run, data, out).skipped) == 3
    one_case(data, tmp_path / "one")
    predict(run, tmp_path / "one", out)
    assert set(read_json(out / "predict.json")["decoded"]) == {one, two}, "those of earlier calls are still there"
    write_json(run / "decoding.json", content | {"forced": ["WT"]})
    assert not predict(run, tmp_path / "one", out).skipped, "the record is to say that it was forced"
    predictor = Predictor.from_pretrained(run)
    by_files = predictor.predict_files(data / one)
    assert by_files.decoding == "forced: tuned out-of-fold"
    assert np.array_equal(by_files.labels, read_labels(out / f"{one}.nii.gz").labels)


def test_a_threshold_that_the_decoding_overrules_is_refused(
    trained_run: Path, phantom_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, _ = one_case(phantom_data, tmp_path / "data")
    run = copied(trained_run, tmp_path / "run")
    write_json(run / "decoding.json", {"regions": {"WT": {"threshold": 0.05}}})
    out, words = tmp_path / "out", ["--predict.threshold=0.4"]
    for options in ({}, {"decoding": str(run / "decoding.json")}):
        with pytest.raises(
            ValueError, match=r"--predict\.threshold=0\.4: .*run/decoding\.json has the thresholds.*--decoding default"
        ):
            predict(run, data, out, overrides=words, **options)
    assert not out.exists()
    assert main(["predict", str(run), str(data), str(out), *words, "--decoding", "default"]) == 0
    assert "decoding: default, threshold 0.4" in capsys.readouterr().out
    assert main(["predict", str(run), str(data), str(out)]) == 0
    assert f"decoding: {run / 'decoding.json'}" in capsys.readouterr().out


def test_a_decoding_that_was_tuned_for_other_weights_is_refused(
    trained_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    data, _ = one_case(phantom_data, tmp_path / "data")
    run = copied(trained_run, tmp_path / "run")
    own = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    file, out = run / "decoding.json", tmp_path / "out"
    write_json(file, {"regions": {}, "weights_sha256": "0" * 64})
    for options in ({}, {"decoding": str(file)}):
        with pytest.raises(
            ValueError, match=r"run/decoding\.json: tuned for other weights .*`mets3d tune` again, .*--decoding default"
        ):
            predict(run, data, out, **options)
    with pytest.raises(ValueError, match="tuned for other weights"):
        Predictor.from_pretrained(run)
    assert not out.exists()
    predict(run, data, out, decoding="default")
    second = copied(trained_run, tmp_path / "second", seed=1)
    write_json(file, {"regions": {}, "weights_sha256": own})
    predict(run, data, out)
    predict(run, data, out, also=[second], decoding=str(file))
    with pytest.raises(ValueError, match="tuned for other weights"):
        predict(second, data, out, decoding=str(file))
    write_json(file, {"regions": {}, "weights_sha256": 3})
    with pytest.raises(ValueError, match=r"decoding\.json: weights_sha256: expected text, found 3"):
        predict(run, data, out)


# ---------------------------------------------------------------- several runs


def copied(run: Path, to: Path, *, seed: int | None = None, **plan: Any) -> Path:
    """A copy of a run without its predictions, with other weights if there is a seed, and other entries in its plan."""
    shutil.copytree(run, to, ignore=shutil.ignore_patterns("checkpoints", "predictions"))
    if seed is not None:
        torch.manual_seed(seed)
        weights = load_file(to / "model.safetensors")
        save_file({name: t + 0.1 * torch.randn_like(t) for name, t in weights.items()}, to / "model.safetensors")
    write_json(to / "plan.json", read_json(to / "plan.json") | plan)
    return to


def one_case(data: Path, to: Path) -> tuple[Path, str]:
    name = sorted(folder.name for folder in data.iterdir())[0]
    shutil.copytree(data / name, to / name)
    return to, name


@pytest.mark.parametrize("weights", [[], ["WT=1,3,2", "ET=0,1,0"]], ids=["alike", "weighted"])
def test_runs_are_averaged_as_probabilities(
    trained_run: Path, phantom_data: Path, tmp_path: Path, weights: list[str]
) -> None:
    # The third sees the case on another grid: it is prepared anew, and meets the others on the case's own.
    runs = [
        trained_run,
        copied(trained_run, tmp_path / "second", seed=1),
        copied(trained_run, tmp_path / "third", seed=2, spacing_mm=[5.0, 4.0, 6.0], margin_voxels=2),
    ]
    data, name = one_case(phantom_data, tmp_path / "data")
    alone = []
    for number, run in enumerate(runs):
        predict(run, data, tmp_path / f"out{number}", probabilities=True)
        alone.append(read_probabilities(tmp_path / f"out{number}" / "probabilities" / f"{name}.nii.gz").data)
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    assert np.abs(alone[1] - alone[2]).max() > 0.01
    predict(runs[0], data, tmp_path / "all", also=runs[1:], region_weights=weights, probabilities=True)
    found = read_probabilities(tmp_path / "all" / "probabilities" / f"{name}.nii.gz").data
    shares = np.array([[1, 3, 2], [1, 1, 1], [0, 1, 0]] if weights else [[1, 1, 1]] * 3).astype(np.float64)
    for region, share in enumerate(shares):
        expected = np.average([probabilities[region] for probabilities in alone], axis=0, weights=share)
        np.testing.assert_allclose(found[region], expected, atol=2e-6)
    told = read_json(tmp_path / "all" / "predict.json")
    assert [member["run"] for member in told["members"]] == [str(run.resolve()) for run in runs]
    assert (
        told["members"][1]["weights_sha256"] == hashlib.sha256((runs[1] / "model.safetensors").read_bytes()).hexdigest()
    )
    assert told["region_weights"] == dict(zip(("WT", "TC", "ET"), shares.tolist(), strict=True))
    assert told["channels"] == ["WT", "TC", "ET"]


def test_members_with_one_plan_prepare_a_case_once(
    trained_run: Path, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[int] = []
    real = Ensemble.prepare

    def counted(self: Ensemble, images: Any) -> Any:
        prepared.append(len(self.plans))
        return real(self, images)

    monkeypatch.setattr(Ensemble, "prepare", counted)
    data, _ = one_case(phantom_data, tmp_path / "data")
    second = copied(trained_run, tmp_path / "second", seed=1)
    predict(trained_run, data, tmp_path / "out", also=[second])
    assert prepared == [1]


def test_runs_and_weights_that_do_not_go_together_are_refused_before_the_first_case(
    trained_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    second = copied(trained_run, tmp_path / "second", seed=1)
    with pytest.raises(ValueError, match="name a folder OUT"):
        predict(trained_run, phantom_data, also=[second])
    out = tmp_path / "out"
    for words, message in (
        (["XY=1,2"], "region weights XY=1,2: expected one of WT, TC, ET"),
        (["WT=1"], "expected 2 numbers from 0, not all 0, one a run in the order of the runs, as in WT=1,1"),
        (["WT=0,0"], "expected 2 numbers"),
        (["WT=1,-1"], "expected 2 numbers"),
        (["WT=1,nan"], "expected 2 numbers"),
        (["WT=a,b"], "expected 2 numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            predict(trained_run, phantom_data, out, also=[second], region_weights=words)
    for also in ([second, second], [trained_run / ".." / trained_run.name]):
        with pytest.raises(ValueError, match=r"--also: .* is named twice"):
            predict(trained_run, phantom_data, out, also=also)
    other = copied(trained_run, tmp_path / "other")
    text = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(text.replace("cavity: false", "cavity: true"))
    with pytest.raises(ValueError, match=r"other/model.safetensors holds the weights of another network:\n  .*: \("):
        predict(trained_run, phantom_data, out, also=[other])
    network = load_network(open_run(trained_run), open_run(trained_run).load_config(), Target(), 4)
    settings = {**network.arguments, "channels": 4}
    state = TransUNet(**settings).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, other / "model.safetensors")
    with pytest.raises(ValueError, match=r"answer the same regions: .*tiny has regions WT, TC, ET, .*RC"):
        predict(trained_run, phantom_data, out, also=[other])
    (other / "plan.json").write_text("{")
    with pytest.raises(ValueError, match=r"other/plan\.json: expected JSON"):
        predict(other, phantom_data, out)
    write_json(other / "plan.json", {"sequences": []})
    with pytest.raises(ValueError, match=r"plan\.json: spacing_mm, margin_voxels missing"):
        predict(other, phantom_data, out)
    (other / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors missing"):
        predict(trained_run, phantom_data, out, also=[other])
    assert not out.exists()


def test_held_out_of_several_runs_is_what_none_was_trained_on(
    trained_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    held_out = read_json(RunDir(trained_run).split)["validation"]
    assert len(held_out) == 2
    second = copied(trained_run, tmp_path / "second")
    write_json(second / "split.json", {"validation": held_out[:1]})
    result = predict(trained_run, phantom_data, tmp_path / "out", also=[second], held_out=True)
    assert result.cases == held_out[:1]
    write_json(second / "split.json", {"validation": ["another"]})
    with pytest.raises(ValueError, match="no case is held out by all of"):
        predict(trained_run, phantom_data, tmp_path / "out", also=[second], held_out=True)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"validation": "P-1"}', '{"validation": [1]}'])
def test_a_broken_split_is_named_before_anything_is_done(
    trained_run: Path, phantom_data: Path, tmp_path: Path, text: str
) -> None:
    run = copied(trained_run, tmp_path / "run")
    (run / "split.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"run/split\.json: (expected|validation missing|validation: expected .*names)"
    ):
        predict(run, phantom_data, tmp_path / "out", held_out=True)
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- settings


def test_overrides_change_the_prediction_and_are_told(trained_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    data, name = one_case(phantom_data, tmp_path / "data")
    found = []
    for out, words in enumerate(
        ([], ["--predict.mirror=[0, 2]"], ["--predict.overlap=0.5"], ["--predict.threshold=0.4"])
    ):
        predict(trained_run, data, tmp_path / str(out), overrides=words, probabilities=True)
        found.append(read_probabilities(tmp_path / str(out) / "probabilities" / f"{name}.nii.gz").data)
    told = [read_json(tmp_path / str(out) / "predict.json") for out in range(4)]
    assert [one["mirror"] for one in told] == [[], [0, 2], [], []]
    assert [one["overlap"] for one in told] == [0.25, 0.25, 0.5, 0.25]
    assert [one["threshold"] for one in told] == [0.5, 0.5, 0.5, 0.4]
    assert 1e-4 < np.abs(found[0] - found[1]).max() < 0.5
    assert 1e-4 < np.abs(found[0] - found[2]).max() < 0.5
    assert np.array_equal(found[0], found[3])
    for word, message in (
        ("--predict.overlop=0.75", "predict.overlop: unknown key; did you mean predict.overlap?"),
        ("--model.features=8", "model.features: belongs to the training; only predict and precision and data"),
        ("--predict.overlap=1.5", "predict.overlap: input should be less than 1"),
        ("--predict.mirror=[0, 0]", r"predict: mirror is \[0, 0\]; expected each axis once"),
        ("--predict.mirror=[3]", "predict.mirror.0: input should be less than or equal to 2"),
    ):
        with pytest.raises(ValueError, match=message):
            predict(trained_run, data, tmp_path / "never", overrides=[word])
    assert not (tmp_path / "never").exists()


def test_bf16_comes_from_the_precision(trained_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    data, name = one_case(phantom_data, tmp_path / "data")
    found = []
    for out, overrides in (("no", []), ("bf16", ["--precision=bf16"])):
        forget_accelerator()
        predict(trained_run, data, tmp_path / out, overrides=overrides, probabilities=True)
        found.append(read_probabilities(tmp_path / out / "probabilities" / f"{name}.nii.gz").data)
        assert read_json(tmp_path / out / "predict.json")["precision"] == out
    assert 0 < np.abs(found[0] - found[1]).max() < 0.1


def test_compile_is_asked_for_by_its_setting(
    trained_run: Path, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def compiled(network: Callable[..., Any], *, dynamic: bool) -> Callable[..., Any]:
        def run(windows: torch.Tensor) -> Any:
            seen.append(windows.is_contiguous())
            return network(windows)

        assert not dynamic
        return run

    monkeypatch.setattr(torch, "compile", compiled)
    data, _ = one_case(phantom_data, tmp_path / "data")
    predict(trained_run, data, tmp_path / "a", overrides=["--predict.window_batch=1"])
    assert not seen
    predict(trained_run, data, tmp_path / "b", overrides=["--predict.window_batch=1", "--predict.compile=true"])
    assert seen
    assert all(seen), "what is compiled for the strides of one case does not fit another"


# ---------------------------------------------------------------- going on


def content(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in ("predict.json", "not_usable.csv")  # both are about the last call
    }


@pytest.mark.slow
def test_a_rerun_skips_what_is_there_and_redoes_what_changed(
    trained_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(phantom_data, data)
    first = predict(trained_run, data, out)
    assert not first.skipped
    times = {file: (out / file).stat().st_mtime_ns for file in content(out)}
    told = read_json(out / "predict.json")

    def rerun(**options: Any) -> list[str]:
        """Names of the cases that were predicted anew."""
        result = predict(trained_run, data, out, **options)
        assert result.cases == first.cases
        assert not result.failures
        return sorted(set(result.cases) - set(result.skipped))

    assert rerun() == []
    assert {file: (out / file).stat().st_mtime_ns for file in content(out)} == times
    assert read_json(out / "predict.json") == told
    assert rerun(overrides=["--predict.window_batch=3"]) == [], "that changes the speed alone"
    a, b, c, d, e, _ = first.cases
    (out / f"{a}.nii.gz").unlink()
    (out / "lesions" / f"{b}.csv").write_text("")
    scan = data / c / f"{c}-t1c.nii.gz"
    scan.write_bytes(scan.read_bytes())  # a later time
    (out / "records" / f"{d}.json").write_text("{")
    os.utime(data / e / f"{e}-seg.nii.gz")  # the reference says nothing about the prediction
    assert rerun() == [a, b, c, d]
    assert rerun(probabilities=True) == first.cases
    assert rerun() == [], "more than was asked for is there"
    assert rerun(overrides=["--predict.threshold=0.4"]) == first.cases
    assert not (out / "probabilities" / f"{a}.nii.gz").exists(), "those of another recipe would be taken for these"
    weights = load_file(trained_run / "model.safetensors")
    other = copied(trained_run, tmp_path / "other")
    save_file({name: tensor * 1.01 for name, tensor in weights.items()}, other / "model.safetensors")
    result = predict(other, data, out)
    assert not result.skipped
    one_case(data, tmp_path / "one")
    result = predict(trained_run, tmp_path / "one", out)
    assert result.remarks == [f"{out} also holds 5 label maps made otherwise: {', '.join(first.cases[1:5])}, ..."]


DIES = """
import os, sys
from pathlib import Path
from mets3d.inference import outputs, predict
step, number = sys.argv[4], int(sys.argv[5])
real, calls = getattr(outputs, step), 0
def dying(*arguments, **keywords):
    global calls
    calls += 1
    if calls == number:
        leftover = Path(sys.argv[3]) / f".{os.getpid()}.tmp.half.nii.gz"
        leftover.write_bytes(b"half")
        os._exit(9)
    return real(*arguments, **keywords)
setattr(outputs, step, dying)
predict.predict(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def uninterrupted(trained_run: Path, phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    forget_accelerator()
    whole = tmp_path_factory.mktemp("whole")
    predict(trained_run, phantom_data, whole)
    return content(whole)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["write_case", "finish_record", "write_scalar"])
def test_a_run_that_was_killed_goes_on_to_the_same_files(
    trained_run: Path, phantom_data: Path, tmp_path: Path, uninterrupted: dict[str, bytes], step: str
) -> None:
    out = tmp_path / "killed"
    script = tmp_path / "dies.py"
    script.write_text(DIES, encoding="utf-8")
    done = python(str(script), str(trained_run), str(phantom_data), str(out), step, "3")
    assert done.returncode == 9, done.stderr
    told = read_json(out / "predict.json")
    assert told["asked"] == sorted(folder.name for folder in phantom_data.iterdir())
    assert (told["cases"], told["failures"]) == ([], {})
    result = predict(trained_run, phantom_data, out)
    assert result.skipped == result.cases[:2]
    assert content(out) == uninterrupted
    assert read_json(out / "predict.json")["cases"] == result.cases


@pytest.mark.slow
def test_two_processes_write_the_same_files_as_one(
    trained_run: Path, phantom_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(phantom_data, data)
    broken = sorted(folder.name for folder in data.iterdir())[3]
    scan = data / broken / f"{broken}-t2f.nii.gz"
    scan.write_bytes(scan.read_bytes()[:3000])
    more = ["--probabilities", "--predict.mirror=[0]"]
    for processes in (1, 2):
        words = ["predict", str(trained_run), str(data), str(tmp_path / str(processes)), *more]
        for told in ("5 label maps in", "5 of them were there already"):
            out, err = predict_by_command(words, processes, capsys)
            assert told in out
            assert f"{broken}-t2f.nii.gz" in err
    one, two = content(tmp_path / "1"), content(tmp_path / "2")
    assert len(one) == 5 * 5 + 2, "and the two tables of colours"
    assert one == two
    assert read_json(tmp_path / "1" / "predict.json") == read_json(tmp_path / "2" / "predict.json")


def predict_by_command(words: list[str], processes: int, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What the command says: one process is this one, with the threads that launchers give to one of two cores."""
    if processes > 1:
        done = launch("-m", "mets3d", *words)
        return done.stdout, done.stderr
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        main(words)
    finally:
        torch.set_num_threads(threads)
        forget_accelerator()
    return tuple(capsys.readouterr())


def test_the_cases_that_were_asked_for_are_noted_before_the_first_and_added_up(
    trained_run: Path, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(folder.name for folder in phantom_data.iterdir())
    data, first = one_case(phantom_data, tmp_path / "data")
    out = tmp_path / "out"
    assert predict(trained_run, data, out).cases == [first]
    assert read_json(out / "predict.json")["asked"] == [first]
    held_out = read_json(RunDir(trained_run).split)["validation"]
    noted: list[dict[str, Any]] = []
    real = Ensemble.read

    def read(self: Ensemble, case: Any) -> Any:
        noted.append(read_json(out / "predict.json"))
        return real(self, case)

    monkeypatch.setattr(Ensemble, "read", read)
    predict(trained_run, phantom_data, out, held_out=True)
    assert noted[0]["asked"] == sorted({first, *held_out})
    assert noted[0]["cases"] == sorted({first} & set(held_out))
    last = read_json(out / "predict.json")
    assert (last["asked"], last["cases"]) == (sorted({first, *held_out}), held_out)
    noted.clear()
    predict(trained_run, phantom_data, out)
    assert noted[0]["cases"] == sorted({first, *held_out})
    assert read_json(out / "predict.json")["asked"] == names
    predict(trained_run, data, out, overrides=["--predict.threshold=0.4"])
    assert read_json(out / "predict.json")["asked"] == [first], "what another recipe was asked for is not this one's"
    (out / "predict.json").write_text("{")
    predict(trained_run, data, out, overrides=["--predict.threshold=0.4"])
    assert read_json(out / "predict.json")["asked"] == [first]


def test_a_truncated_input_does_not_cost_the_earlier_prediction(
    trained_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    data, name = one_case(phantom_data, tmp_path / "data")
    out = tmp_path / "out"
    predict(trained_run, data, out)
    before = content(out)
    scan = data / name / f"{name}-t1c.nii.gz"
    whole, times = scan.read_bytes(), scan.stat()
    for overrides in ([], ["--predict.overlap=0.5"]):
        scan.write_bytes(whole[:2000])
        result = predict(trained_run, data, out, overrides=overrides)
        assert list(result.failures) == [name]
        assert result.cases == []
        assert content(out) == before
        assert result.remarks == [f"{out} keeps the earlier label map of 1 case that failed now: {name}"]
        told = read_json(out / "predict.json")
        assert (told["asked"], told["cases"], list(told["failures"])) == ([name], [], [name])
    scan.write_bytes(whole)
    os.utime(scan, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert predict(trained_run, data, out, overrides=["--predict.overlap=0.5"]).skipped == []
    assert content(out)[f"records/{name}.json"] != before[f"records/{name}.json"]


# ---------------------------------------------------------------- one case's faults, and how many are held


def test_any_fault_of_one_case_leaves_the_others(
    trained_run: Path, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(folder.name for folder in phantom_data.iterdir())
    real_read, real_write, real_answer = Ensemble.read, outputs.write_case, Ensemble.probabilities
    answered: list[int] = []

    def read(self: Ensemble, case: Any) -> Any:
        if case.name == names[0]:
            raise MemoryError("no room")
        return real_read(self, case)

    def answer(self: Ensemble, prepared: Any) -> Any:
        answered.append(1)
        if len(answered) == 2:
            raise torch.OutOfMemoryError("device full")
        channels = real_answer(self, prepared)
        if len(answered) == 3:
            channels.parts[0].total[0, 3, 3, 3] = np.nan
        return channels

    def write(folder: Path, name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == names[4]:
            raise OSError(28, "No space left on device", str(folder))
        return real_write(folder, name, *arguments, **keywords)

    monkeypatch.setattr(Ensemble, "read", read)
    monkeypatch.setattr(outputs, "write_case", write)
    monkeypatch.setattr(Ensemble, "probabilities", answer)
    told: list[tuple[int, int]] = []
    result = predict(trained_run, phantom_data, tmp_path, progress=lambda done, total, name: told.append((done, total)))
    assert result.cases == [names[1], names[5]]
    assert set(result.failures) == {names[0], names[2], names[3], names[4]}
    assert result.failures[names[0]] == "MemoryError: no room"
    assert result.failures[names[2]] == "OutOfMemoryError: device full; lower predict.window_batch"
    assert "NaN" in result.failures[names[3]]
    assert "No space left" in result.failures[names[4]]
    assert told == [(done, 6) for done in range(1, 7)]
    assert read_json(tmp_path / "predict.json")["failures"] == result.failures


def test_a_network_that_answers_nan_fails_its_case(trained_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    run = copied(trained_run, tmp_path / "run")
    weights = load_file(run / "model.safetensors")
    save_file({name: torch.full_like(tensor, torch.nan) for name, tensor in weights.items()}, run / "model.safetensors")
    data, name = one_case(phantom_data, tmp_path / "data")
    result = predict(run, data, tmp_path / "out")
    assert "the network's answer holds NaN" in result.failures[name]


@pytest.mark.slow
def test_at_most_one_case_is_read_one_computed_and_one_written(
    trained_run: Path, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: "weakref.WeakSet[Any]" = weakref.WeakSet()
    most: list[int] = []
    threads: dict[str, set[str]] = {}

    def watched(step: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **keywords: Any) -> Any:
            threads.setdefault(step, set()).add(threading.current_thread().name.split("_")[0])
            result = real(*arguments, **keywords)
            if isinstance(result, ensemble.Loaded):
                alive.add(result)
            gc.collect()
            most.append(len(alive))
            return result

        return run

    monkeypatch.setattr(Ensemble, "read", watched("read", Ensemble.read))
    monkeypatch.setattr(pipeline, "decode", watched("write", pipeline.decode))
    monkeypatch.setattr(Ensemble, "probabilities", watched("compute", Ensemble.probabilities))
    gc.freeze()  # what is there already need not be looked through each time
    try:
        predict(trained_run, phantom_data, tmp_path)
    finally:
        gc.unfreeze()
    assert max(most) <= 3
    assert threads == {"read": {"read"}, "compute": {"MainThread"}, "write": {"write"}}


# ---------------------------------------------------------------- the command


def test_the_command_takes_overrides_and_more_runs(
    trained_run: Path, phantom_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, _ = one_case(phantom_data, tmp_path / "data")
    second = copied(trained_run, tmp_path / "second", seed=1)
    words = [
        "predict",
        str(trained_run),
        str(data),
        str(tmp_path / "out"),
        "--predict.mirror=[1]",
        "--also",
        str(second),
    ]
    words += ["--region-weights", "WT=1,2", "TC=2,1", "--decoding", "default", "--precision=no"]
    assert main(words) == 0
    told = read_json(tmp_path / "out" / "predict.json")
    assert told["mirror"] == [1]
    assert told["region_weights"] == {"WT": [1, 2], "TC": [2, 1], "ET": [1, 1]}
    assert "there already" not in capsys.readouterr().out
    assert main(words) == 0
    assert "1 of them were there already" in capsys.readouterr().out
    assert main([*words[:-1], "--predict.nothing=1"]) == 2
    assert "predict.nothing: unknown key" in capsys.readouterr().err
    assert main(["check", str(data), "--predict.mirror=[1]"]) == 2  # a verb without a run
    assert "predict.mirror: belongs to the training" in capsys.readouterr().err


@pytest.mark.gpu
def test_a_gpu_finds_what_the_cpu_finds(
    trained_run: Path, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, name = one_case(phantom_data, tmp_path / "data")
    found = []
    for variable in ("true", "false"):
        monkeypatch.setenv("ACCELERATE_USE_CPU", variable)
        forget_accelerator()
        predict(trained_run, data, tmp_path / variable, overrides=["--predict.mirror=[0, 1, 2]"], probabilities=True)
        found.append(read_probabilities(tmp_path / variable / "probabilities" / f"{name}.nii.gz").data)
    np.testing.assert_allclose(found[0], found[1], atol=2e-3)
    forget_accelerator()
