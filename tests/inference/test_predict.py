"""A finished run meets cases."""

import hashlib
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mets3d.data.nifti import read_labels
from mets3d.inference.imported import write_run
from mets3d.inference.predict import load_network, predict
from mets3d.models.transunet import TransUNet
from mets3d.models.weights import from_original
from mets3d.regions import Target
from mets3d.rundir import RunDir, open_run, read_json
from tests.models.test_weights import original
from tests.runs import forget_accelerator


@pytest.fixture(autouse=True)
def fresh_accelerator() -> None:
    forget_accelerator()


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


def test_another_orientation_gives_the_same_labels_in_space(
    trained_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    name = sorted(folder.name for folder in phantom_data.iterdir())[0]
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
    predict(trained_run, phantom_data, tmp_path / "a")
    one, two = (read_labels(tmp_path / folder / f"{name}.nii.gz") for folder in ("a", "b"))
    assert np.array_equal(one.labels, two.labels)
    np.testing.assert_allclose(one.affine, two.affine, atol=1e-4)
    assert nibabel.aff2axcodes(nibabel.load(tmp_path / "b" / f"{name}.nii.gz").affine) == ("P", "S", "L")


def test_probabilities_decode_to_the_labels(trained_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    result = predict(trained_run, phantom_data, tmp_path / "out", probabilities=True, held_out=True)
    name = result.cases[0]
    stored = nibabel.load(tmp_path / "out" / "probabilities" / f"{name}.nii.gz")
    probabilities = np.moveaxis(np.asarray(stored.dataobj), -1, 0)
    assert probabilities.dtype == np.float32
    labels = np.asarray(nibabel.load(tmp_path / "out" / f"{name}.nii.gz").dataobj)
    assert np.array_equal(Target().decode(probabilities), labels)
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
