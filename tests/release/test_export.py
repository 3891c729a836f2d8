"""What leaves the house: a folder that predicts as the run does, its card, and nothing of machine or patients."""

import csv
import hashlib
import importlib.util
import re
import shutil
import socket
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from torch import nn

from mets3d import models
from mets3d.__main__ import main
from mets3d.config import Config, as_dict, load_file, to_yaml
from mets3d.data.cases import SEQUENCES
from mets3d.data.nifti import read_labels
from mets3d.data.prepare import prepare
from mets3d.data.reading import read_scan
from mets3d.files import read_json, write_json
from mets3d.inference.members import load_members
from mets3d.inference.predictor import Predictor
from mets3d.models.weights import save_weights
from mets3d.regions import Target
from mets3d.release import onnx
from mets3d.release.export import export
from mets3d.release.public import PRIVATE
from mets3d.release.tensor_network import tensor_network, z_score
from mets3d.rundir import RunDir
from mets3d.settings import Section
from tests.builders.cases import make_case
from tests.builders.runs import TINY
from tests.inference.test_predict import one_case
from tests.inference.test_predictor import arrays

SECRET = "jane-doe"
TABLES = ["labels_3d_slicer.ctbl", "labels_itk_snap.txt"]  # names and colours, for viewers
NEEDED = ["README.md", "config.yaml", "decoding.json", *TABLES, "model.safetensors", "plan.json"]
LOW = {"regions": {"WT": {"threshold": 0.05}, "TC": {"threshold": 0.04}, "ET": {"threshold": 0.03}}}  # finds something


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run, tuned, scored on its held-out cases, and full of what is nobody's business."""
    folder = tmp_path / "runs" / "tiny"
    kept = ("config.yaml", "plan.json", "split.json", "environment.json", "model.safetensors")
    folder.mkdir(parents=True)
    for name in kept:
        shutil.copy(trained_run / name, folder)
    tree = as_dict(load_file(folder / "config.yaml"))
    tree |= {"output": f"/nowhere/{SECRET}/runs", "weights": f"/nowhere/{SECRET}/runs/first"}
    tree["data"]["store"] = f"/nowhere/{SECRET}/store"
    tree["model"]["vit_pretrained"] = f"/nowhere/{SECRET}/vit.npz"
    tree["track"]["project"] = SECRET
    (folder / "config.yaml").write_text(to_yaml(Config.model_validate(tree)))
    environment = read_json(folder / "environment.json")
    write_json(
        folder / "environment.json", environment | {"command": f"/nowhere/{SECRET}/train.py", "platform": SECRET}
    )
    held_out = read_json(folder / "split.json")["validation"]
    write_json(
        folder / "decoding.json",
        LOW | {"objective": "f1", "rules": "brats2023", "cases": held_out, "caveats": [SECRET], "by": SECRET},
    )
    write_scores(folder / "scores.csv", held_out)
    return folder


def write_scores(file: Path, cases: list[str], **texts: str) -> None:
    """Dice of WT, TC, ET: 0.5, 0.6, ... for WT, 0.1 less for TC; TC of the first case has no value."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "region", "rules", "dice", "lesions_found", "lesions_missed", "lesions_false", *texts])
        for number, case in enumerate(cases):
            for shift, region in enumerate(("WT", "TC", "ET")):
                dice = "" if (number, region) == (0, "TC") else 0.5 + 0.1 * (number % 4) - 0.1 * shift
                writer.writerow([case, region, "brats2023", dice, 3, 1, number % 2, *texts.values()])


def random_run(
    folder: Path,
    *,
    patch: tuple[int, int, int] = (16, 16, 16),
    target: str = "regions",
    query_classes: str = "product",
    **model: Any,
) -> Path:
    """A run directory of a random network, as `import-weights` makes them: no split, no environment."""
    tree = {"data": TINY["data"] | {"patch": patch, "target": target}, "model": TINY["model"] | model}
    config = Config.model_validate(tree | {"name": folder.name, "predict": {"query_classes": query_classes}})
    torch.manual_seed(1)
    network = models.build(config.model, in_channels=4, target=Target(config.data.target), patch=config.data.patch)
    for name, parameter in network.named_parameters():
        if name.endswith(("conv.bias", "norm.bias")):
            nn.init.normal_(parameter)  # 0 when new; then a window of zeros would stay one
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config))
    plan = {"sequences": SEQUENCES, "spacing_mm": [4, 4, 4], "margin_voxels": 0, "imported_from": f"{SECRET}.pth"}
    write_json(folder / "plan.json", plan)
    save_weights(network.state_dict(), folder / "model.safetensors")
    return folder


# ---------------------------------------------------------------- the folder


def test_the_folder_predicts_as_the_run_and_without_a_network(
    run: Path, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, name = one_case(phantom_data, tmp_path / "data")
    images, spacing_mm = arrays(data / name)
    assert main(["export", str(run), str(tmp_path / "out")]) == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == NEEDED
    expected = Predictor.from_pretrained(run, device="cpu")(images, spacing_mm)
    assert expected.labels.any(), "the test is only of use if something is predicted"
    shutil.rmtree(run)

    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    found = Predictor.from_pretrained(tmp_path / "out", device="cpu")(images, spacing_mm)
    np.testing.assert_array_equal(found.labels, expected.labels)
    for region, probability in expected.probabilities.items():
        np.testing.assert_array_equal(found.probabilities[region], probability)
    assert found.lesions == expected.lesions


def test_what_viewers_read_is_there_and_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["export", str(run), str(out)]) == 0
    said, card = capsys.readouterr().out, (out / "README.md").read_text(encoding="utf-8")
    for name in TABLES:
        assert str(out / name) in said
        assert f"`{name}`" in card
        assert "enhancing" in (out / name).read_text(encoding="utf-8")


def test_the_weights_are_the_runs_to_the_byte(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out")
    old, new = ((folder / "model.safetensors").read_bytes() for folder in (run, tmp_path / "out"))
    assert hashlib.sha256(old).digest() == hashlib.sha256(new).digest()


def test_nothing_tells_of_machine_or_patients(run: Path, phantom_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run, out, license_id="cc-by-4.0", with_bundle=True)
    plan = read_json(run / "plan.json")
    assert len(plan["cases"]) == 6
    private = [SECRET, "/nowhere", str(tmp_path), str(run), *plan["cases"], *[case[:-4] for case in plan["cases"]]]
    for file in (file for file in out.rglob("*") if file.is_file()):
        content = file.read_bytes()
        assert not [word for word in private if word.encode() in content], file
        assert not re.search(rb"[\"' (]/(root|home|work|tmp|usr|nowhere)/", content), file
    assert read_json(out / "decoding.json")["cases"] == 2


def test_the_configuration_is_the_runs_but_for_what_is_private(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out", name="given-away")
    old, new = load_file(run / "config.yaml"), load_file(tmp_path / "out" / "config.yaml")
    assert new.name == "given-away"
    assert new.model == old.model.model_copy(update={"vit_pretrained": None})
    assert new.data == old.data.model_copy(update={"store": "store", "split": None})
    assert (new.output, new.weights, new.predict, new.loss) == ("runs", None, old.predict, old.loss)


def test_every_setting_of_free_text_is_looked_after() -> None:
    def free(section: type[Section], prefix: str = "") -> typing.Iterator[str]:
        for name, field in section.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from free(kind, f"{prefix}{field.alias or name}.")
            elif kind is str or (str in typing.get_args(kind) and typing.get_origin(kind) is not tuple):
                yield prefix + (field.alias or name)

    # The terms of the loss are checked against their names.
    assert set(free(Config)) == {"name", "loss.boundary", *PRIVATE}


# ---------------------------------------------------------------- the card


def test_the_card_is_one_that_the_hub_reads(run: Path, tmp_path: Path) -> None:
    write_scores(tmp_path / "elsewhere.csv", [f"Other-{number:03d}-000" for number in range(8)])
    words = ["--license", "cc-by-nc-4.0", "--scores", str(tmp_path / "elsewhere.csv"), "--dataset", "Elsewhere 2026"]
    assert main(["export", str(run), str(tmp_path / "out"), "--name", "mets-tiny", *words]) == 0
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.license == "cc-by-nc-4.0"
    assert (card.data.library_name, card.data.pipeline_tag) == ("mets3d", "image-segmentation")
    assert card.data.model_name == "mets-tiny"
    results = {result.metric_name: result for result in card.data.eval_results or []}
    assert {result.dataset_name for result in results.values()} == {"Elsewhere 2026"}
    wt, tc = results["WT Dice"], results["TC Dice"]
    assert wt.metric_value == pytest.approx(0.65)  # 0.5, 0.6, 0.7, 0.8 twice
    assert wt.metric_args is not None
    assert tc.metric_args is not None
    assert (wt.metric_args["rules"], wt.metric_args["cases"], tc.metric_args["cases"]) == ("brats2023", 8, 7)
    low, high = wt.metric_args["interval_95"]
    assert 0.5 < low < 0.65 < high < 0.8
    assert tc.metric_value == pytest.approx((0.5 + 0.6 + 0.7 + 0.4 + 0.5 + 0.6 + 0.7) / 7, abs=1e-4)
    assert results["ET lesions found, share"].metric_value == 0.75
    assert f"| Dice | 0.650 [{low:.3f}, {high:.3f}], n 8 | 0.571" in card.text


def test_the_scores_of_the_card_have_their_order_and_digits(run: Path, tmp_path: Path) -> None:
    columns = {"hd95": 12.3456, "dice": 0.65432, "lesion_wise_nsd_1.0": 0.54321, "lesion_wise_hd95": 98.7654}
    columns |= {"lesion_wise_dice": 0.43219, "lesions_found": 3, "lesions_missed": 1, "lesions_false": 1}
    with (tmp_path / "scores.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "region", "rules", *columns])
        writer.writerows([[f"P-{case}-000", "WT", "brats2023", *columns.values()] for case in (1, 2)])
    assert main(["export", str(run), str(tmp_path / "out"), "--scores", str(tmp_path / "scores.csv")]) == 0
    lines = (tmp_path / "out" / "README.md").read_text(encoding="utf-8").splitlines()
    first = lines.index("| score | WT |") + 2
    assert [line.partition(", n ")[0] for line in lines[first : first + 8]] == [
        "| lesion-wise Dice | 0.432",
        "| lesion-wise HD95, mm | 98.77",
        "| lesion-wise NSD at 1 mm | 0.543",
        "| Dice | 0.654",
        "| HD95, mm | 12.35",
        "| lesions found, share | 0.750",
        "| predicted lesions that are true, share | 0.750",
        "| false lesions a case | 1.00",
    ]


def test_the_card_says_that_an_inner_part_was_held_out(run: Path, tmp_path: Path) -> None:
    inner = Path(shutil.copytree(run, tmp_path / "run"))
    config = (inner / "config.yaml").read_text(encoding="utf-8")
    assert "inner_folds: null" in config
    (inner / "config.yaml").write_text(config.replace("inner_folds: null", "inner_folds: 2"), encoding="utf-8")
    export(inner, tmp_path / "out")
    text = " ".join(ModelCard.load(tmp_path / "out" / "README.md").text.split())
    assert "held out (one of 2 parts of the cases that fold 0 of 3 trains on)" in text


def test_the_card_tells_what_the_run_knows(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out")
    text = " ".join(ModelCard.load(tmp_path / "out" / "README.md").text.split())
    assert "4 cases of 4 patients to train on, 2 cases of 2 patients held out (fold 0 of 3)" in text
    assert "resampling to 4 x 4 x 4 mm" in text
    assert "boundary term hausdorff_distance" in text
    assert "Not a medical device" in text
    assert "| ET | 0.03 | - | 0 | no | no |" in text
    assert "started from other weights" in text
    assert "best mean lesion-wise Dice on 1 of the held-out cases by the rule set brats2026, so scores" in text
    assert f"torch {torch.__version__}" in text
    assert "| Dice | 0.550, n 2 | 0.500, n 1 | 0.350, n 2 |" in text  # two patients have no interval


def test_without_a_licence_the_card_gives_none(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), str(tmp_path / "out")]) == 0
    assert "no --license given" in capsys.readouterr().out
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert (card.data.license, card.data.license_name) == ("other", "none-chosen-yet")
    assert "None was chosen yet" in card.text


def test_scores_by_another_decoding_are_told_apart(run: Path, tmp_path: Path) -> None:
    sha256 = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    used: dict[str, Any] = {name: {"threshold": value["threshold"]} for name, value in LOW["regions"].items()}
    rest = {"peak": None, "min_volume_mm3": 0.0, "largest_only": False, "fill_holes": False}
    told = {"weights_sha256": sha256, "decoding": {name: value | rest for name, value in used.items()}}
    (run / "predictions").mkdir()
    write_json(run / "predictions" / "predict.json", told)
    assert not [remark for remark in export(run, tmp_path / "same").remarks if "thresholds" in remark]
    told["decoding"]["ET"]["threshold"] = 0.5
    write_json(run / "predictions" / "predict.json", told)
    assert "other thresholds than those exported" in export(run, tmp_path / "other").remarks[0]
    assert "other thresholds than those exported" in (tmp_path / "other" / "README.md").read_text()


def test_the_card_says_how_the_scores_were_decoded_and_names_nobody(run: Path, tmp_path: Path) -> None:
    held_out = read_json(run / "split.json")["validation"]
    tuning = {
        "patients": {case: case.removesuffix("-000") for case in held_out},
        "folds": [{"patients": [case.removesuffix("-000")], "regions": LOW["regions"]} for case in held_out],
        "forced": ["WT", "ET"],
        "cross_validation": {"WT": {"gain": -0.1, "standard_error": 0.1, "outcome": "forced"}},
    }
    write_json(run / "decoding.json", read_json(run / "decoding.json") | tuning)
    told = {"decoding": "forced: tuned out-of-fold", "decoding_rules": "brats2024"}
    write_scores(run / "scores.csv", held_out, **told)
    remarks = export(run, tmp_path / "out").remarks
    written = read_json(tmp_path / "out" / "decoding.json")
    assert (written["forced"], written["cases"]) == (["WT", "ET"], 2)
    assert written["cross_validation"] == tuning["cross_validation"]
    assert not {"folds", "patients"} & set(written)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert (
        "Decoding: forced: tuned out-of-fold by brats2024 (each case by settings chosen without its patient)." in card
    )
    assert "(`decoding.json`), for WT, ET against cross-validation, which does not support it:" in card
    for said in ("the decoding of 2 cases was forced", "the decoding was tuned by brats2024 and these are scores by"):
        assert said[1:] in card
        assert any(said in remark for remark in remarks)
    assert "decoding.json was forced for WT, ET, against cross-validation" in remarks
    assert "on those very cases" not in card
    everything = b"".join(file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert not [case for case in held_out if case.removesuffix("-000").encode() in everything]
    plan = Predictor.from_pretrained(tmp_path / "out").plan
    assert plan.of(held_out[0]).how == "forced: tuned (perhaps on this case)", "whose cases they were it does not know"


def test_an_imported_run_has_a_card_too(tmp_path: Path) -> None:
    export(random_run(tmp_path / "imported", mode="cnn", vit_pretrained=None), tmp_path / "out")
    text = ModelCard.load(tmp_path / "out" / "README.md").text
    assert "imported weights, or a model exported before" in text
    assert "None were given" in text
    assert SECRET not in (tmp_path / "out" / "plan.json").read_text()


# ---------------------------------------------------------------- bad input


def refused(arguments: list[str], out: Path, capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """Runs the verb; its one message. Nothing is left where OUT should have been."""
    before = sorted(out.parent.iterdir())
    assert main(["export", *arguments]) == code
    assert sorted(out.parent.iterdir()) == before
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("mets3d export:") == 1
    return told.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--license", "CC BY 4.0"], r"--license 'CC BY 4.0': expected an identifier .* such as cc-by-4.0"),
        (["--name", "a/b"], "--name 'a/b': expected letters"),
        (["--dataset", "two\nlines"], "--dataset .*: expected words on one line"),
        (["--scores", "absent.csv"], "absent.csv: no such table"),
    ],
)
def test_words_of_another_form(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert re.search(told, refused([str(run), str(tmp_path / "out"), *words], tmp_path / "out", capsys))


def test_an_existing_folder_is_left_alone(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    assert "out exists; name a folder to be made" in refused(
        [str(run), str(tmp_path / "out")], tmp_path / "out", capsys
    )
    assert not list((tmp_path / "out").iterdir())


def test_a_run_without_weights(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "model.safetensors").unlink()
    assert "model.safetensors missing" in refused([str(run), str(tmp_path / "out")], tmp_path / "out", capsys, 1)


def test_weights_of_another_network(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = random_run(tmp_path / "other", mode="cnn")
    shutil.copy(other / "model.safetensors", run)
    told = refused([str(run), str(tmp_path / "out")], tmp_path / "out", capsys, 1)
    assert "holds the weights of another network" in told
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    assert "or truncated" in refused([str(run), str(tmp_path / "out")], tmp_path / "out", capsys, 1)


def test_the_decoding_tells_the_weights_that_are_exported(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, file = [str(run), str(tmp_path / "out")], run / "decoding.json"
    own = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    assert main(["export", str(run), str(tmp_path / "untold")]) == 0
    assert "weights_sha256" not in read_json(tmp_path / "untold" / "decoding.json")
    write_json(file, read_json(file) | {"weights_sha256": "0" * 64})
    capsys.readouterr()
    assert "decoding.json: tuned for other weights" in refused(arguments, tmp_path / "out", capsys)
    write_json(file, read_json(file) | {"weights_sha256": own})
    assert main(["export", *arguments]) == 0
    new = hashlib.sha256((tmp_path / "out" / "model.safetensors").read_bytes()).hexdigest()
    assert read_json(tmp_path / "out" / "decoding.json")["weights_sha256"] == new
    Predictor.from_pretrained(tmp_path / "out")
    assert main(["export", str(tmp_path / "out"), str(tmp_path / "again")]) == 0
    assert read_json(tmp_path / "again" / "decoding.json") == read_json(tmp_path / "out" / "decoding.json")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("split.json", "[]", r"split\.json: expected an object in braces"),
        ("split.json", '{"training": 3}', r"split\.json: training: expected a list of names, found 3"),
        ("predictions/predict.json", "{", r"predict\.json: expected JSON"),
        ("predictions/predict.json", '{"members": 3}', r"predict\.json: members: expected a list of objects, found 3"),
        (
            "decoding.json",
            '{"regions": {}, "cases": "x"}',
            r"decoding\.json: cases: expected a list of names, or .*'x'",
        ),
    ],
)
def test_a_broken_small_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, content: str, message: str
) -> None:
    (run / "predictions").mkdir()
    (run / file).write_text(content)
    assert re.search(message, refused([str(run), str(tmp_path / "out")], tmp_path / "out", capsys))


def test_scores_of_cases_that_were_trained_on(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = read_json(run / "split.json")
    write_scores(run / "scores.csv", [*split["validation"], *split["training"][:3]])
    arguments = [str(run), str(tmp_path / "out")]
    assert "scores of 3 cases that the run was trained on" in refused(arguments, tmp_path / "out", capsys)
    assert main(["export", *arguments, "--scores", "none"]) == 0
    assert "None were given" in (tmp_path / "out" / "README.md").read_text()


def test_scores_of_other_weights(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    (run / "predictions").mkdir()
    for told in ({"weights_sha256": "0"}, {"weights_sha256": own, "members": [{"weights_sha256": "0"}]}):
        write_json(run / "predictions" / "predict.json", told)
        message = refused([str(run), str(tmp_path / "out")], tmp_path / "out", capsys)
        assert "names other weights than" in message


def test_onnx_without_its_packages(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else there(name))
    told = refused([str(run), str(tmp_path / "out"), "--onnx"], tmp_path / "out", capsys)
    assert "not installed: onnxscript; run `pip install 'mets3d[onnx]'`" in told


def test_a_network_that_cannot_be_exported(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr(torch.onnx, "export", fails)
    told = refused([str(run), str(tmp_path / "out"), "--onnx"], tmp_path / "out", capsys)
    assert re.search(r"mode decoder cannot be exported to ONNX by torch \S+: no such operator; leave out --onnx", told)
    assert "much more" not in told


# ---------------------------------------------------------------- ONNX


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "cnn", "target": "labels"},
        {"mode": "encoder"},
        {"mode": "decoder", "query_classes": "claimed"},
        {"mode": "both", "target": "labels"},
    ],
    ids=lambda settings: settings["mode"],
)
def test_onnx_answers_as_pytorch(settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnxruntime

    run = random_run(tmp_path / "run", **settings)
    assert main(["export", str(run), str(tmp_path / "out"), "--onnx"]) == 0
    assert "model.onnx gives PyTorch's probabilities within" in capsys.readouterr().out
    file = tmp_path / "out" / "model.onnx"
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    image = torch.randn(1, 4, 16, 16, 16, generator=torch.Generator().manual_seed(7))
    image[..., 8:, :, :] = 0
    found = session.run(["probabilities"], {"image": image.numpy()})[0]
    network, target = (
        Predictor.from_pretrained(run).ensemble.members[0].network,
        Target(settings.get("target", "regions")),
    )
    with torch.no_grad():
        expected = network(image).region_probabilities(settings.get("query_classes", "product"))
    assert found.shape == (1, target.channels, 16, 16, 16)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert np.ptp(found) > 0.1
    told = session.get_modelmeta().custom_metadata_map
    assert (told["channels"], told["sequences"]) == (" ".join(target.names), "t1n t1c t2w t2f")
    assert not re.search(rb"/\w+/\w+\.py|stack_trace", file.read_bytes())


@pytest.mark.slow
def test_onnx_survives_a_large_window_outside_the_brain(tmp_path: Path) -> None:
    import onnxruntime

    member = load_members([random_run(tmp_path / "run", mode="cnn", patch=(48, 48, 48))])[0]
    onnx.write_onnx(member, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    image = torch.zeros(1, 4, 48, 48, 48)
    with torch.no_grad():
        exact = member.network.double().eval()(image.double()).probabilities
    np.testing.assert_allclose(session.run(None, {"image": image.numpy()})[0], exact.numpy(), atol=1e-5)


def test_an_onnx_file_that_differs_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Written:
        model = None

        def save(self, path: str) -> None:
            Path(path).write_bytes(b"wrong")

    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: Written())
    monkeypatch.setattr(onnx, "_describe", lambda *_: None)
    monkeypatch.setattr(onnx, "_deviation", lambda *_: 2e-4)
    told = refused([str(run), str(tmp_path / "out"), "--onnx"], tmp_path / "out", capsys)
    assert "differ by 0.0002 in a probability, expected at most 0.0001" in told


def test_the_norms_of_the_onnx_file_are_the_networks() -> None:
    generator = torch.Generator().manual_seed(3)
    features = 5 + torch.randn(2, 12, 6, 5, 7, generator=generator)
    for norm in (nn.InstanceNorm3d(12, affine=True), nn.GroupNorm(4, 12)):
        assert norm.weight is not None
        nn.init.normal_(norm.weight, generator=generator)
        nn.init.normal_(norm.bias, generator=generator)
        torch.testing.assert_close(onnx.NestedNorm(norm)(features), norm(features), atol=2e-5, rtol=0)


def test_every_window_of_the_check_is_another() -> None:
    for patch in ((16, 16, 16), (80, 32, 48)):
        windows = list(onnx._windows(4, patch))
        assert {tuple(window.shape) for window in windows} == {(1, 4, *patch)}
        assert [bool(window.any()) for window in windows] == [False, True, True, True, True]
        assert all(not torch.equal(a, b) for i, a in enumerate(windows) for b in windows[:i])


# ---------------------------------------------------------------- MONAI


def test_intensities_are_normalised_as_in_a_store(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    images = [read_scan(case, name) for name in SEQUENCES]
    expected = prepare(dict(zip(SEQUENCES, images, strict=True)), None, (1.0, 1.0, 1.0), 2, cavity=False)
    found = z_score(torch.from_numpy(np.stack([image.data for image in images])))
    np.testing.assert_array_equal(found.numpy(), expected.image.astype(np.float32))
    with pytest.raises(ValueError, match="expected a brain"):
        z_score(torch.zeros(4, 2, 2, 2))
    with pytest.raises(ValueError, match="constant"):
        z_score(torch.ones(4, 2, 2, 2))
    with pytest.raises(ValueError, match="constant"):
        z_score(100 + 1e-4 * torch.rand(4, 2, 2, 2, generator=torch.Generator().manual_seed(0)))


@pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")  # MONAI's word of warning about any configuration
def test_the_bundle_runs_in_monai_and_finds_the_same(run: Path, tmp_path: Path) -> None:
    from monai.bundle import ConfigParser, verify_net_in_out
    from monai.bundle import run as run_bundle

    case = make_case(tmp_path / "data", affine=np.diag([-4.0, 4.0, 4.0, 1.0]))  # LAS: not the network's orientation
    out = tmp_path / "out"
    export(run, out, license_id="mit", with_bundle=True)
    files = {
        "meta_file": str(out / "configs" / "metadata.json"),
        "config_file": str(out / "configs" / "inference.json"),
    }
    verify_net_in_out("network_def", device="cpu", bundle_root=str(out), **files)
    parser = ConfigParser()
    parser.read_config(files["config_file"])
    parser["bundle_root"] = str(out)
    network = parser.get_parsed_content("network_def")
    image = torch.randn(1, 4, 16, 16, 16, generator=torch.Generator().manual_seed(7))
    assert torch.equal(network(image), tensor_network(run)(image))
    run_bundle(bundle_root=str(out), dataset_dir=str(tmp_path / "data"), output_dir=str(tmp_path / "labels"), **files)
    expected = Predictor.from_pretrained(out, device="cpu").predict_files(tmp_path / "data", tmp_path / "ours")
    assert expected.labels.any(), "the test is only of use if something is predicted"
    one, two = (read_labels(tmp_path / name / f"{case.name}.nii.gz") for name in ("labels", "ours"))
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_allclose(one.affine, two.affine)
    assert "mit" in (out / "LICENSE").read_text()
    assert read_json(RunDir(out).path / "configs" / "metadata.json")["name"] == "tiny"
