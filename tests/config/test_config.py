"""Files, overrides as sweep agents print them, and faults that are listed together."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mets3d import config
from mets3d.config import Config, ConfigError, Data, load, load_file
from mets3d.config.yaml12 import load_yaml, read_value
from tests.builders.runs import ROOT

SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))


def faults(*arguments: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(arguments)
    return caught.value.faults


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-05", 1e-5),
        ("1e-4", 1e-4),
        (".5", 0.5),
        ("True", True),
        ("true", True),
        ("None", None),
        ("null", None),
        ("[96, 96, 64]", [96, 96, 64]),
        ("[96,96,64]", [96, 96, 64]),
        ("{'boundary': 'none'}", {"boundary": "none"}),
        ("no", "no"),  # YAML 1.2: text, where PyYAML says False
        ("off", "off"),
        ("bf16", "bf16"),
        ("'quoted'", "quoted"),
        ("a: b: c", "a: b: c"),  # neither Python nor YAML
    ],
)
def test_values_are_read_as_agents_print_them(text: str, value: Any) -> None:
    found = read_value(text)
    assert found == value
    assert type(found) is type(value)


def test_yaml_floats_follow_version_1_2(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("optim: {lr: 1e-4, weight_decay: 5.E-6}\nprecision: no\n")
    loaded = load_file(file)
    assert loaded.optim.lr == 1e-4
    assert loaded.optim.weight_decay == 5e-6
    assert loaded.precision == "no"


def test_every_way_to_write_an_override() -> None:
    for arguments in (["--optim.lr=0.1"], ["--optim.lr", "0.1"], ["optim.lr=0.1"], ["--optim={'lr': 0.1}"]):
        assert load(arguments).optim.lr == 0.1
    merged = load(["--optim={'lr': 0.1}", "--optim.momentum=0.5", "--optim={'lr': 0.2}"]).optim
    assert (merged.lr, merged.momentum) == (0.2, 0.5)


def test_a_base_may_be_a_shipped_configuration_unless_a_file_is_there(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    for word in ("quickstart", "quickstart.yaml"):
        mine.write_text(f"base: {word}\nseed: 3\n")
        assert load_file(mine) == load_file(ROOT / "configs" / "quickstart.yaml").model_copy(update={"seed": 3})
    (tmp_path / "quickstart.yaml").write_text("seed: 1\nmodel: {queries: 5}\n")
    assert load_file(mine).model.queries == 5
    mine.write_text("base: quickstar\n")
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_file(mine)


def test_later_wins_and_files_lie_over_their_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("optim: {lr: 1.0, momentum: 0.1}\nseed: 1\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.yaml").write_text("base: ../base.yaml\noptim: {lr: 2.0}\n")
    (tmp_path / "last.yaml").write_text("seed: 3\n")
    arguments = ["--config", str(tmp_path / "sub" / "mine.yaml"), f"--config={tmp_path / 'last.yaml'}"]
    loaded = load(arguments)
    assert (loaded.optim.lr, loaded.optim.momentum, loaded.seed) == (2.0, 0.1, 3)
    assert load([*arguments, "--seed=4"]).seed == 4


def test_names_stay_text_and_take_settings_in() -> None:
    assert load(["--name=2024"]).name == "2024"
    assert load(["--name=True"]).name == "True"
    assert load(["--weights=None"]).weights is None
    assert load(["--name=f{data.fold}_{loss.boundary}", "--data.fold=2"]).name == "f2_none"
    assert "refers to data.fald" in faults("--name={data.fald}")[0]
    for bad in ("a/b", "..", ""):
        assert "name is" in faults(f"--name={bad}")[0]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("optim.ema_decay", "optim.ema"), ("train.step", "train.steps"), ("loss.boundry_weight", "loss.boundary_weight")],
)
def test_the_nearest_key_is_one_of_the_same_section(typed: str, meant: str) -> None:
    assert f"{typed}: unknown key; did you mean {meant}?" in faults(f"--{typed}=0.5")


def test_empty_text_is_no_folder() -> None:
    (found,) = faults("--weights=")
    assert found.startswith("weights: ")
    assert "null" in found


def test_every_fault_is_listed_at_once_with_the_nearest_key() -> None:
    found = "\n".join(
        faults(
            "--los.bondary=3", "--loss.boundry=x", "--optim.lr=fast", "--loss.boundary=x", "--data.fold=9", "--patch=1"
        )
    )
    for part in (
        "los.bondary: unknown key; did you mean loss.boundary?",
        "loss.boundry: unknown key; did you mean loss.boundary?",
        "patch: unknown key; did you mean data.patch?",
        "optim.lr: input should be a valid number",
        "loss.boundary: expected none, one of hausdorff_distance",
        "fold is 9, but folds are numbered 0 to 4",
    ):
        assert part in found


@pytest.mark.parametrize("line", ["data.labels: {4: 3}", "data.fold: 1"])
def test_a_dotted_key_in_a_file_is_told_to_be_a_section(tmp_path: Path, line: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(line)
    key = line.split(":", maxsplit=1)[0].removeprefix("data.")
    (fault,) = faults("--config", str(file))
    assert fault.endswith(f"unknown key; in a file write `data:` and in the line below, indented, `{key}:`")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.patch=[100, 128, 128]"], "100 voxels along X, not a multiple of 32"),
        (["--train.batch_size=3", "--train.accumulation=2"], "not divisible by train.accumulation"),
        (["--loss.boundary_ramp=[0.5, 0.1]"], "start <= end"),
        (["--model.kernels=[[3,3,3]]"], "expected one more than strides, 6"),
        (["--model.width=100"], "multiple of 6"),
        (["--model.strides=[[0,2,2]]"], "model.strides"),
        (["--preprocess.spacing_mm=[0,1,1]"], "preprocess.spacing_mm.0: input should be greater than 0"),
        (["--preprocess.spacing_mm=[1e9,1,1]"], "preprocess.spacing_mm.0: input should be less than or equal to 100"),
        (
            ["--preprocess.spacing_mm=mean"],
            "preprocess.spacing_mm: input should be 'median' or 'in_plane'; found 'mean'",
        ),
        (["--preprocess.spacing_mm={[]: 1}"], "preprocess.spacing_mm: input should be a valid tuple"),
        (["--optim.betas=[0.9]"], "optim.betas: expected a longer list; found [0.9]"),
        (["--optim.betas=[0.9, 0.99, 0.999]"], "optim.betas: expected a list of 2; found [0.9, 0.99, 0.999]"),
        (["--validate.mirror=0"], "validate.mirror: input should be a valid tuple, written as a list in brackets"),
        (["--optim=sgd"], "optim: is a section; expected a value for one of its keys, as optim.KEY; found 'sgd'"),
        (["--validate.patience=true"], "validate.patience: true and false are no numbers; found True"),
        (["--data.patch=[true, 32, 32]"], "data.patch: true and false are no numbers; found [True, 32, 32]"),
        (["--config", "."], ".: is a folder; name a YAML file"),
        (
            ["--optim.schedule=poly", "--train.steps=4", "--train.schedule_steps=2", "--optim.warmup_steps=3"],
            "leave it none of 2; lower optim.warmup_steps, or raise train.schedule_steps",
        ),
        (["--weights_keep=[step]"], "weights_keep is [step] and weights none"),
        (["--optim.lr=inf"], "optim.lr"),
        (["--augment.scale=[0, 1]"], "augment.scale"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such configuration file"),
        (["--seed"], "--seed: a value is missing"),
        (["--seed", "--optim.lr=1"], "--seed: a value is missing"),
        (["quickstart"], "expected --config FILE"),
        (["--seed.x=1", "--seed=2", "--seed.y=1"], "seed is a value, not a section"),
    ],
)
def test_what_does_not_go_together_says_so(arguments: list[str], message: str) -> None:
    assert message in "\n".join(faults(*arguments))


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "base: a.yaml"])
def test_files_that_are_no_configuration(tmp_path: Path, content: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(content)
    assert str(file) in faults("--config", str(file))[0]


def test_files_of_another_encoding_or_nested_without_end_are_one_fault_each(tmp_path: Path) -> None:
    latin, deep = tmp_path / "latin.yaml", tmp_path / "deep.yaml"
    latin.write_bytes("name: caf\xe9\n".encode("latin-1"))
    deep.write_text("name: " + "[" * 5000, encoding="utf-8")
    found = faults("--config", str(latin), "--config", str(deep))
    assert len(found) == 2
    assert found[0].startswith(f"{latin}: cannot be read as YAML: ")
    assert found[0].endswith("; save it as UTF-8 text")
    assert found[1] == f"{deep}: cannot be read as YAML: it is nested too deeply"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_configurations_load_and_survive_a_round_trip(file: Path, tmp_path: Path) -> None:
    loaded = load_file(file)
    copy = tmp_path / "config.yaml"
    copy.write_text(config.to_yaml(loaded))
    assert load_file(copy) == loaded


def test_base_yaml_is_every_key_with_its_default_and_meaning() -> None:
    text = (ROOT / "configs" / "base.yaml").read_text()
    assert load_file(ROOT / "configs" / "base.yaml") == Config()
    assert set(config.flatten(yaml.safe_load(text))) == {key for key, _, _ in config.leaves()}
    for key, _, description in config.leaves():
        assert description in text, f"{key} has lost its meaning; make base.yaml again from mets3d.config.keys.leaves"


@pytest.mark.parametrize("name", ["1e3", "12e4567", "no", "true", "0x10", "1_000", "null", "2024-01-01", "1:30", "~"])
def test_text_that_looks_like_something_else_survives_a_round_trip(tmp_path: Path, name: str) -> None:
    loaded = config.validate({"data": {"store": name}}, [])
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml(loaded))
    assert load_file(file).data.store == name


@settings(max_examples=25, deadline=None)
@given(
    lr=st.floats(1e-8, 10),
    steps=st.integers(1, 10**6),
    fold=st.integers(0, 4),
    ramp=st.tuples(st.floats(0, 0.5), st.floats(0.5, 1)),
)
def test_any_configuration_survives_a_round_trip(lr: float, steps: int, fold: int, ramp: tuple[float, float]) -> None:
    loaded = load(
        [f"--optim.lr={lr}", f"--train.steps={steps}", f"--data.fold={fold}", f"--loss.boundary_ramp={list(ramp)}"]
    )
    tree = load_yaml(config.to_yaml(loaded))
    assert config.validate(tree, []) == loaded


def test_differing_keys_and_what_is_ignored() -> None:
    one, two = load(["--seed=1", "--track.wandb=disabled"]), load(["--loss.boundary_alpha=1.5"])
    assert config.differing_keys(one, two) == ["seed", "loss.boundary_alpha", "track.wandb"]
    assert config.differing_keys(one, two, ignored=("track", "seed")) == ["loss.boundary_alpha"]


def script(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "train.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_line_reports_faults_without_a_traceback_on_rank_0_alone() -> None:
    done = script("--seed=x", "--optm.lr=1")
    assert done.returncode == 2
    assert done.stderr.startswith("train.py: 2 faults in the configuration\n")
    assert "optim.lr" in done.stderr
    assert "Traceback" not in done.stderr
    silent = script("--seed=x", RANK="1")
    assert (silent.returncode, silent.stderr) == (2, "")


def test_help_and_print_config() -> None:
    text = script("--help").stdout
    for key, _, description in config.leaves():
        assert f"--{key}=" in text
        assert description in text
    printed = script("--config", "configs/quickstart.yaml", "--print-config", "--seed=7").stdout
    assert yaml.safe_load(printed)["seed"] == 7


def test_label_weights_are_one_a_label_and_not_all_nothing() -> None:
    assert Config(loss={"boundary_label_weights": [1, 0, 2]}).loss.boundary_label_weights == (1, 0, 2)
    assert Config(data={"cavity": True}, loss={"boundary_label_weights": [1, 1, 1, 1]})
    with pytest.raises(ValueError, match="has 2 entries, expected 3: one for each of WT, TC, ET"):
        Config(loss={"boundary_label_weights": [1, 2]})
    with pytest.raises(ValueError, match="expected 4: one for each of NETC, SNFH, ET, RC"):
        Config(data={"cavity": True, "target": "labels"}, loss={"boundary_label_weights": [1, 2, 3]})
    for weights in ([0, 0, 0], [1, -1, 1], []):
        with pytest.raises(ValueError, match="boundary_label_weights is"):
            Config(loss={"boundary_label_weights": weights})


def test_a_plain_factor_is_not_taken_for_a_balanced_weight() -> None:
    assert Config(loss={"boundary_weight": 300, "boundary_schedule": "ramp"})
    with pytest.raises(ValueError, match="boundary_weight is 300 and boundary_schedule balanced"):
        Config(loss={"boundary_weight": 300})


def test_a_weight_left_open_is_what_the_study_found_for_the_term() -> None:
    found = json.loads((ROOT / "benchmarks/results/study/weights.json").read_text(encoding="utf-8"))["weights"]
    terms = {"hausdorff": "hausdorff_distance", "signed": "signed_distance", "blob": "blob", "cc_dice": "cc_dice"}
    terms |= {name: f"hausdorff_{name}" for name in ("conditioned", "log", "erosion", "convolution")}
    for name, term in terms.items():
        loss = Config(loss={"boundary": term, "boundary_weight": None, "boundary_schedule": "gradient"}).loss
        assert loss.weight == found[name]
    assert found.keys() == terms.keys()
    joined = {"boundary": "blob+cc_dice", "boundary_weight": None, "boundary_schedule": "gradient"}
    assert Config(loss=joined).loss.weight == 0.1
    assert Config(loss={"boundary": "blob", "boundary_weight": 0.7}).loss.weight == 0.7
    with pytest.raises(ValueError, match="boundary_weight is none and boundary_schedule balanced; expected a number"):
        Config(loss={"boundary": "blob", "boundary_weight": None})


def test_the_constant_of_an_absent_label_is_a_word_or_a_length() -> None:
    assert load_loss("zero").boundary_absent == "zero"
    assert load_loss("12.5").boundary_absent == 12.5
    with pytest.raises(ConfigError, match="boundary_absent"):
        load_loss("0")


def load_loss(absent: str) -> Any:
    return load(["--config", str(ROOT / "configs" / "base.yaml"), f"--loss.boundary_absent={absent}"]).loss


def test_batch_dice_is_refused_where_no_head_has_it() -> None:
    assert Config(loss={"batch_dice": True}).loss.batch_dice, "the deep heads of the default mode have it"
    assert Config(model={"mode": "cnn", "deep_supervision": False}, loss={"batch_dice": True})
    for model in ({"deep_supervision": False}, {"deep_heads": 0}, {"strides": [[2, 2, 2], [2, 2, 2]]}):
        with pytest.raises(ValueError, match=r"batch_dice has no effect in mode decoder without deep heads"):
            Config(model=model, loss={"batch_dice": True})


def test_a_setting_that_is_a_map_is_replaced_and_not_merged(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("data: {labels: {4: 3}}\n")
    assert load(["--config", str(file)]).data.labels == {4: 3}
    changed = load(["--config", str(file), "--data.labels={1: 3}"])
    assert changed.data.labels == {1: 3}
    assert config.differing_keys(changed, load(["--config", str(file)])) == ["data.labels"]
    file.write_text(config.to_yaml(changed))
    assert load_file(file) == changed


@pytest.mark.parametrize(("map_", "wrong"), [({4: 3, 3: 300}, "{3: 300}"), ({1: -1}, "{1: -1}"), ({1: 5}, "{1: 5}")])
def test_labels_are_mapped_to_ours_alone(map_: dict[int, int], wrong: str) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"labels: expected each integer mapped to one of 0 to 4, found {wrong}")
    ):
        Data(labels=map_)
    assert Data(labels={7: 3, -1: 0}).labels == {7: 3, -1: 0}


# ---------------------------------------------------------------- a preset of a section


def test_a_preset_begins_its_section_anew_and_single_values_go_on_top(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("augment: {gamma: 0.9, noise: 0.8}\n")
    words = ["--config", "base", "--config", str(tmp_path / "mine.yaml")]
    assert load(words).augment.gamma == 0.9
    spatial = load([*words, "--augment.noise=0.2", "--augment.preset=spatial"]).augment
    assert (spatial.preset, spatial.noise, spatial.gamma, spatial.blur) == ("spatial", 0.2, 0, 0)
    assert (spatial.rotation, spatial.mirror) == (0.2, 0.5)
    (tmp_path / "above.yaml").write_text("base: mine.yaml\naugment: {preset: brats_regions, elastic: 0.1}\n")
    regions = load(["--config", str(tmp_path / "above.yaml")]).augment
    assert (regions.elastic, regions.scale, regions.gamma, regions.noise) == (0.1, (0.65, 1.6), 0.3, 0.15)


@pytest.mark.parametrize("preset", ["default", "brats_regions", "spatial", "none"])
def test_the_complete_configuration_with_a_preset_is_read_back(tmp_path: Path, preset: str) -> None:
    loaded = load([f"--augment.preset={preset}", "--augment.noise=0.3", "--augment.scaling=0"])
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml(loaded))
    assert load_file(file) == loaded
    assert (loaded.augment.noise, loaded.augment.scaling) == (0.3, 0)


@pytest.mark.parametrize("swap", [False, True])
def test_the_order_of_overrides_has_no_meaning_over_a_configuration_either(swap: bool) -> None:
    words = ["--augment.preset=spatial", "--augment.noise=0.2"]
    changed = config.overridden(load([]), words[::-1] if swap else words, sections=["augment"]).augment
    assert (changed.preset, changed.noise, changed.blur) == ("spatial", 0.2, 0)


def test_a_preset_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        load(["--augment.preset=heavy"])
    (line,) = caught.value.faults
    assert "augment.preset" in line
    assert "'brats_regions'" in line
    assert "'heavy'" in line
