"""Plans of made data sets: what is decided, why, and that the file is a configuration whose network trains."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mets3d import losses, models
from mets3d.__main__ import main
from mets3d.config import load, load_file
from mets3d.data.survival import SIZES
from mets3d.losses.value import StepContext
from mets3d.planning import spacing
from mets3d.planning.fit import fit, needed
from mets3d.planning.memory import CONTEXT_BYTES, GB
from mets3d.planning.spacing import Candidate, choose, nnunet_spacing
from mets3d.planning.topology import smaller, topology_of
from mets3d.planning.write import Decision, as_yaml, plain
from mets3d.regions import Target
from mets3d.settings import Config
from tests.builders.cases import make_case

Planner = Callable[..., tuple[int, Path, str]]
BRAIN = (138.0, 172.0, 138.0)


@pytest.fixture
def planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Planner:
    """Runs `mets3d plan`; returns exit code, the file, and what was printed."""

    def run(data: Path, *words: str, memory: str = "8", name: str = "mine.yaml") -> tuple[int, Path, str]:
        out = tmp_path / "plans" / name
        code = main(["plan", str(data), "--memory-gb", memory, "--out", str(out), *words])
        printed = capsys.readouterr()
        return code, out, printed.out + printed.err

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two cases of 44 x 48 x 40 voxels of 1 mm, whose brain is two voxels smaller at either end."""
    for number in (1, 2):
        make_case(tmp_path / "data", f"BraTS-MET-0000{number}-000", shape=(44, 48, 40))
    return tmp_path / "data"


# ---------------------------------------------------------------- the whole


@pytest.mark.parametrize("mode", ["cnn", "encoder", "decoder", "both"])
def test_the_file_is_a_configuration_with_a_reason_for_every_key(data: Path, planned: Planner, mode: str) -> None:
    code, out, printed = planned(data, "--mode", mode, "--data.sequences=[t1c, t2f]", "--model.vit_depth=1")
    assert code == 0
    config = load(["--config", str(out)])
    assert config == load_file(out)
    assert config.model.mode == mode
    assert config.data.sequences == ("t1c", "t2f")
    assert config.data.patch == (40, 48, 40)  # the brain, 40 x 44 x 36, in the nearest multiples of 8
    network = models.build(config.model, in_channels=2, target=Target(), patch=config.data.patch)
    assert network.arguments["mode"] == mode
    text = out.read_text(encoding="utf-8")
    keys = [line for line in text.splitlines() if re.match(r"\s*\w+: \S", line) and not line.startswith("base")]
    lines = text.splitlines()
    for line in keys:
        assert "  # " in line or lines[lines.index(line) - 1].lstrip().startswith("# "), line
    assert "2 cases" in printed
    assert "median brain 40x44x36" in text


def test_a_planned_network_makes_a_step(data: Path, planned: Planner) -> None:
    _, out, _ = planned(data, "--model.features=4", "--model.max_features=8", "--model.width=24", "--model.queries=4")
    config = load_file(out)
    network = models.build(config.model, in_channels=4, target=Target(), patch=config.data.patch)
    loss = losses.build(config.loss, target=Target(), steps=2, queries=True)
    masks = torch.zeros(1, 3, *config.data.patch, dtype=torch.bool)
    masks[..., 4:9, 4:9, 4:9] = True
    value = loss(network(torch.randn(1, 4, *config.data.patch)), masks, StepContext(0, masks=torch.tensor(3.0)))
    value.total.backward()
    assert torch.isfinite(value.total)


def test_keys_are_in_the_order_of_base_yaml(data: Path, planned: Planner) -> None:
    _, out, _ = planned(data, "--train.steps=7", "--augment.noise=0", "--precision=no")
    found = re.findall(r"^ *(\w+):", out.read_text(encoding="utf-8"), re.M)
    base = re.findall(r"^ *(\w+):", Path("configs/base.yaml").read_text(encoding="utf-8"), re.M)
    places, start = [], -1
    for key in found[1:]:  # without `base`
        start = base.index(key, start + 1)
        places.append(start)
    assert places == sorted(places)
    assert load_file(out).train.steps == 7
    assert load_file(out).precision == "no"


def test_a_base_is_named_and_stays_below(data: Path, planned: Planner, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("base: brats_mets\nmodel:\n  queries: 7\n  features: 16\ntrain: {batch_size: 4}\n", encoding="utf-8")
    _, out, _ = planned(data, "--config", str(own))
    config = load_file(out)
    assert "base: ../own.yaml" in out.read_text(encoding="utf-8")
    assert (config.model.queries, config.model.features, config.train.batch_size) == (7, 16, 4)
    assert config.optim.warmup_steps == 2500  # of brats_mets, two files below
    _, out, _ = planned(data, "--config", "quickstart")
    assert "base: quickstart.yaml" in out.read_text(encoding="utf-8")
    assert load_file(out).model.queries == 8
    assert load_file(out).data.store == "stores/mine"


def test_less_memory_first_splits_the_batch_and_recomputes_then_shrinks_the_patch() -> None:
    def fitted(memory_gb: float) -> Config:
        size = (1.0, 1.0, 1.0)
        found = fit(
            Config(precision="bf16"), topology_of(size, (138, 172, 138)), memory_gb * GB,
            lambda one: smaller(size, one, BRAIN),
        )  # fmt: skip
        assert found.need.device <= memory_gb * GB
        assert found.need == needed(found.config)
        return found.config

    large, split, twice, small = (fitted(memory) for memory in (24, 8, 4, 3))
    assert (large.data.patch, large.train.accumulation, large.train.recompute) == ((128, 160, 128), 1, 0)
    assert (split.data.patch, split.train.accumulation, split.train.recompute) == ((128, 160, 128), 2, 0)
    assert twice.data.patch == (128, 160, 128)
    assert twice.train.accumulation == 2
    assert twice.train.recompute > 0
    assert np.prod(small.data.patch) < np.prod(large.data.patch)
    with pytest.raises(ValueError, match="too little: the least that was tried"):
        fitted(CONTEXT_BYTES / GB)


def test_the_reasons_say_what_did_not_fit(data: Path, planned: Planner) -> None:
    _, out, _ = planned(data, memory="1.6")
    text = out.read_text(encoding="utf-8")
    config = load_file(out)
    assert config.train.batch_size == 2
    estimated = re.search(
        r"([\d.]+) GB of 1.6 GB estimated|fits 1.6 GB at batch 2: ([\d.]+) GB", " ".join(text.split())
    )
    assert estimated
    assert needed(config).device <= 1.6 * GB


def test_too_little_memory_and_wrong_words_are_refused_in_one_message(data: Path, planned: Planner) -> None:
    code, out, printed = planned(data, memory="0.9")
    assert code == 2
    assert "0.9 GB are too little" in printed
    assert not out.exists()
    code, _, printed = planned(data, "--data.patch=[64,64,64]", "--train.recompute=1")
    assert code == 2
    assert "data.patch, train.recompute: decided by the plan" in printed
    code, _, printed = planned(data, "--model.deep_heads=9")
    assert code == 2
    assert "model.deep_heads is 9" in printed
    for memory in ("0", "-3", "nan", "much"):
        with pytest.raises(SystemExit):
            planned(data, memory=memory)


def test_a_case_that_cannot_be_read_is_named_and_left_out(data: Path, planned: Planner) -> None:
    make_case(data, "BraTS-MET-00003-000", shape=(44, 48, 40))
    make_case(data, "BraTS-MET-00004-000", shape=(44, 48, 40))
    (data / "BraTS-MET-00003-000" / "BraTS-MET-00003-000-t1c.nii.gz").write_bytes(b"nothing")
    (data / "BraTS-MET-00004-000" / "BraTS-MET-00004-000-seg.nii.gz").write_bytes(b"nothing")
    code, out, printed = planned(data)
    assert code == 1
    text = out.read_text(encoding="utf-8")
    for name in ("BraTS-MET-00003-000", "BraTS-MET-00004-000"):
        assert name in printed
        assert name in text
    assert "2 cases (" in text
    load_file(out)


def test_a_plan_of_nnunet_is_taken(data: Path, planned: Planner, tmp_path: Path) -> None:
    plans = {
        "transpose_forward": [0, 1, 2],
        "configurations": {
            "3d_fullres": {
                "patch_size": [16, 32, 48],
                "spacing": [2.0, 1.0, 0.5],
                "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
                "pool_op_kernel_sizes": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
                "UNet_base_num_features": 24,
            }
        },
    }
    (tmp_path / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    code, out, _ = planned(data, "--from-nnunet", str(tmp_path / "plans.json"))
    config = load_file(out)
    assert code == 0
    assert config.preprocess.spacing_mm == (0.5, 1.0, 2.0)
    assert config.data.patch == (48, 32, 16)
    assert config.model.strides == ((2, 2, 1), (2, 2, 2))
    assert config.model.kernels == ((3, 3, 1), (3, 3, 3), (3, 3, 3))
    assert (config.model.features, config.model.max_features) == (24, 320)
    assert "of plans.json" in out.read_text(encoding="utf-8")
    (tmp_path / "plans.json").write_text("{}", encoding="utf-8")
    code, _, printed = planned(data, "--from-nnunet", str(tmp_path / "plans.json"))
    assert code == 2
    assert "configurations, transpose_forward missing" in printed


# ---------------------------------------------------------------- voxel size


def candidate(name: str, kept: tuple[int, ...], voxels: float) -> Candidate:
    return Candidate(name, (1.0, 1.0, 1.0), (10, 500, 300, 200), kept, 0, 1.0, voxels)


def test_the_cheapest_that_keeps_as_many_as_the_best_is_chosen() -> None:
    best, near, far = (
        candidate("in_plane", (9, 500, 300, 200), 8e6),
        candidate("1 mm", (0, 496, 300, 200), 3e6),  # 996 of 1000: within 0.5 %
        candidate("median", (9, 490, 300, 200), 1e6),  # 990
    )
    assert choose([far, near, best]).name == "1 mm"
    assert choose([far, best]).name == "in_plane"
    assert choose([far]).name == "median"


def test_the_rule_of_nnunet_by_hand() -> None:
    voxels = np.array([[240.0, 240.0, 30.0]] * 5)
    coarse = np.array([[0.5, 0.5, z] for z in (2.0, 3.0, 5.0, 5.0, 6.0)])
    assert nnunet_spacing(coarse, voxels) == (0.5, 0.5, 2.4)  # 10th percentile of the slices
    many = np.array([[240.0, 240.0, 100.0]] * 5)
    assert nnunet_spacing(coarse, many) == (0.5, 0.5, 5.0)  # as many slices: the median
    fine = np.array([[1.0, 1.0, z] for z in (0.5, 4.0, 4.0)])
    assert nnunet_spacing(fine, voxels[:3]) == (1.0, 1.0, 1.2)
    assert nnunet_spacing(np.array([[1.0, 1.0, z] for z in (0.1, 4.0, 4.0)]), voxels[:3]) == (1.0, 1.0, 1.0)


def test_an_asked_size_is_kept_and_the_table_shows_all(tmp_path: Path, planned: Planner) -> None:
    affine = np.diag([0.5, 0.5, 1.0, 1.0])
    make_case(tmp_path / "fine", shape=(64, 64, 40), affine=affine)
    _, out, printed = planned(tmp_path / "fine", "--preprocess.spacing_mm=[2, 2, 2]")
    assert load_file(out).preprocess.spacing_mm == (2.0, 2.0, 2.0)
    for word in (*SIZES, spacing.ONE_MM, spacing.MEDIAN, spacing.IN_PLANE, spacing.NNUNET, "as asked *"):
        assert word in printed, word
    # One lesion of 27 voxels of 0.25 mm3 with its oedema, one of a voxel.
    assert re.search(r"in_plane .* 1/1 +1/1", printed)


def test_a_set_without_references_is_planned_at_1_mm(tmp_path: Path, planned: Planner) -> None:
    make_case(tmp_path / "raw", shape=(44, 48, 40), volumes={"seg": None})
    code, out, _ = planned(tmp_path / "raw")
    assert code == 0
    assert load_file(out).preprocess.spacing_mm == (1.0, 1.0, 1.0)
    assert "no lesion is known" in out.read_text(encoding="utf-8")


# ---------------------------------------------------------------- writing


def test_values_are_written_as_yaml_and_long_reasons_stand_above() -> None:
    assert plain([[1, 2], [3, 4]]) == "[[1, 2], [3, 4]]"
    assert plain({4: 3}) == "{4: 3}"
    assert plain(None) == "null"
    assert plain(True) == "true"
    assert plain("off, on") == "'off, on'"
    assert plain("1e3") == "'1e3'"
    decisions: dict[str, Any] = {
        "train.recompute": Decision(0, "short"),
        "data.patch": Decision((1, 2, 3), "a word " * 30),
        "name": Decision("x", "top"),
    }
    lines = as_yaml(["head", ""], "base.yaml", decisions).splitlines()
    assert lines[:4] == ["# head", "#", "base: base.yaml", "name: x  # top"]
    assert lines[4] == "data:"
    assert lines[5].startswith("  # a word")
    assert "  patch: [1, 2, 3]" in lines
    assert lines[-2:] == ["train:", "  recompute: 0  # short"]
