"""Files that somebody made to do harm are refused with one message, and nothing of them is run, held or followed."""

import gzip
import json
import os
import pickle
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from mets3d.__main__ import main
from mets3d.config.bounded_yaml import read_bounded
from mets3d.config.yaml12 import load_yaml
from mets3d.data import DataError
from mets3d.data.cases import find_cases
from mets3d.data.nifti import FileError, read_image, read_labels
from mets3d.data.nifti import opened as opened_files
from mets3d.data.store import INDEX, open_store
from mets3d.files import WrongWeightsError, is_plain_name, parse_json, read_object
from mets3d.models.originals.transunet import read_checkpoint
from mets3d.models.weights import load_weights
from mets3d.training.optimizer_state import check_optimizer, read_optimizer
from tests.builders.cases import make_case
from tests.faults.fuzz_headers import fuzz


class Harm:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


# ---------------------------------------------------------------- weights and checkpoints


@pytest.mark.parametrize("how", ["pickle", "torch", "inside"])
@pytest.mark.parametrize("name", ["a.pth", "a.model", "optimizer.bin", "a.safetensors"])
def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path, name: str, how: str) -> None:
    file, mark = tmp_path / name, tmp_path / "harmed"
    if how == "pickle":
        file.write_bytes(pickle.dumps(Harm(mark)))
    else:
        torch.save(Harm(mark) if how == "torch" else {"state_dict": {"a": torch.ones(1), "b": Harm(mark)}}, file)
    read: dict[str, Callable[[], object]] = {
        "optimizer.bin": lambda: read_optimizer(file),
        "a.safetensors": lambda: load_weights(nn.Linear(1, 1), file),
    }
    with pytest.raises(ValueError, match=f"{name}: (expected|not a safetensors file)") as error:
        read.get(name, lambda: read_checkpoint(file))()
    assert "weights_only" not in str(error.value), "torch advises to run the code"
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 8,
        struct.pack("<Q", 1 << 62),
        struct.pack("<Q", 1 << 36) + b"{}",
        struct.pack("<Q", 10**5) + b"[" * 10**5,
    ],
)
def test_a_safetensors_header_of_any_stated_size_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(WrongWeightsError, match="not a safetensors file"):
        load_weights(nn.Linear(1, 1), tmp_path / "a.safetensors")


def _state() -> tuple[torch.optim.Optimizer, dict[str, Any]]:
    network = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return optimizer, optimizer.state_dict()


def test_the_state_of_this_optimizer_fits() -> None:
    optimizer, saved = _state()
    check_optimizer(saved, optimizer, Path("optimizer.bin"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        # The fused step writes as many numbers as the parameter has, wherever that is.
        (lambda saved: saved["state"][0].update(exp_avg=torch.zeros(1, 1)), "exp_avg of parameter 0"),
        (lambda saved: saved["state"][0].update(exp_avg=torch.zeros(1).expand(1 << 20, 1 << 20)), "exp_avg"),
        (lambda saved: saved["state"][1].update(step=torch.zeros(2)), "step of parameter 1"),
        (lambda saved: saved["state"][1].update(exp_avg_sq=torch.zeros(2, dtype=torch.int64)), "exp_avg_sq"),
        (lambda saved: saved["state"][0].update(exp_avg="text"), "is str"),
        (lambda saved: saved["state"][0].pop("exp_avg"), "parameter 0 has"),
        (lambda saved: saved["state"].update({7: {}}), "parameter 7"),
        (lambda saved: saved["param_groups"][0].update(params=[0, 0]), "groups of"),
        (lambda saved: saved["param_groups"][0].update(params=[0]), "groups of"),
        (lambda saved: saved.pop("param_groups"), "expected `state`"),
    ],
)
def test_the_state_of_another_optimizer_is_refused(change: Callable[[dict[str, Any]], object], named: str) -> None:
    optimizer, saved = _state()
    change(saved)
    with pytest.raises(WrongWeightsError, match=rf"optimizer\.bin: the state of another optimizer: .*{named}"):
        check_optimizer(saved, optimizer, Path("optimizer.bin"))


# ---------------------------------------------------------------- YAML and JSON


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
MERGES = "a0: &a0 {b: 1}\n" + "".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
HOSTILE_YAML = {
    "runs code": "a: !!python/object/apply:os.mkdir [harmed]",
    "names code": "a: !!python/name:os.system",
    "laughs": LAUGHS,
    "merges": MERGES,
    "nested": "a: " + "[" * 20_000,
    "within itself": "a: &a\n  b: *a",
    "no such day": "a: 2001-99-99",
    "no time": "a: !!timestamp b",
    "no truth": "a: !!bool b",
    "no number": "a: !!int ''",
    "digits": "a: " + "9" * 5000,
    "no character": 'a: "\\UFFFFFFFF"',
    "zeros": "\0",
    "long": "a: '" + "b" * 10_000_000 + "'",
}


@pytest.mark.parametrize("text", HOSTILE_YAML.values(), ids=HOSTILE_YAML)
def test_hostile_yaml_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    for read in (load_yaml, lambda text: read_bounded(text, yaml.SafeLoader)):
        with pytest.raises(yaml.YAMLError):
            read(text)
    assert not (tmp_path / "harmed").exists()


def test_aliases_of_a_usual_number_are_read() -> None:
    assert load_yaml("a: &a [1, 2]\nb: {c: *a, d: *a}\ne:\n  <<: {f: 1}\n  g: 2") == {
        "a": [1, 2], "b": {"c": [1, 2], "d": [1, 2]}, "e": {"f": 1, "g": 2}
    }  # fmt: skip


def test_every_reader_of_yaml_is_bounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, own = tmp_path / "a.yaml", tmp_path / "data" / "dataset.yaml"
    own.parent.mkdir()
    for path in (file, own):
        path.write_text(MERGES, encoding="utf-8")
    for words in (["preprocess", "data", "store", "--config", str(file)], ["sweep", str(file)],
                  ["check", str(own.parent)], ["train", "--launch", str(file), "--config", "quickstart"]):  # fmt: skip
        assert main(words) == 2
        assert "aliases written out" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' + "9" * 5000 + "}", '{"a":' * 100_000, "", "\0"])
def test_hostile_json_is_one_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        parse_json(text)
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.json: expected JSON"):
        read_object(tmp_path / "a.json")


# ---------------------------------------------------------------- headers and streams


def _header(path: Path, *changes: tuple[int, str, tuple[float, ...]]) -> bytes:
    make_case(path, "A-000")
    content = bytearray(gzip.decompress((path / "A-000" / "A-000-t1c.nii.gz").read_bytes()))
    for place, form, values in changes:
        struct.pack_into(form, content, place, *values)
    return bytes(content)


@pytest.mark.parametrize(
    ("place", "form", "values", "what"),
    [
        (40, "<4h", (3, 32767, 32767, 32767), "larger than the memory"),
        (40, "<4h", (3, -1, 14, 10), "not a volume"),
        (40, "<4h", (3, 0, 14, 10), "not a volume"),
        (40, "<8h", (7, *[32767] * 7), "not a volume"),
        (40, "<h", (-3,), "not a volume"),
        (108, "<f", (0.0,), "voxels inside the header"),
        (108, "<f", (-352.0,), "voxels inside the header"),
        (108, "<f", (float("nan"),), "voxels inside the header"),
        (108, "<f", (3e38,), "truncated file"),
        (80, "<3f", (1e-30, 1e-30, 1e-30), "impossible voxel size"),
        (80, "<3f", (1e30, 1.0, 1.0), "impossible voxel size"),
    ],
)
def test_a_hostile_header_is_refused(tmp_path: Path, place: int, form: str, values: tuple[Any, ...], what: str) -> None:
    (tmp_path / "a.nii").write_bytes(_header(tmp_path, (place, form, values)))
    for read in (read_image, read_labels):
        with pytest.raises(FileError, match=r"a\.nii: ") as error:
            read(tmp_path / "a.nii")
        assert error.value.what == what


def test_a_scan_that_memory_does_not_hold_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.nii").write_bytes(_header(tmp_path, (40, "<4h", (3, 1000, 1000, 1000))))
    monkeypatch.setattr(opened_files, "free_memory", lambda: 5_900_000_000)  # int16 and float32: 6 GB
    with pytest.raises(FileError, match=r"shape 1000 x 1000 x 1000, which takes 6.0 GB where 5.9 GB are free"):
        read_image(tmp_path / "a.nii")


def _repeated(head: bytes, megabytes: int) -> bytes:
    """A gzip file of several streams that holds so many zeros behind the head."""
    return gzip.compress(head, 1) + gzip.compress(bytes(1 << 24), 9) * (megabytes // 16)


def _lying(head: bytes, megabytes: int) -> bytes:
    """One stream of as many zeros whose end names the length of the head."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.flush() + struct.pack("<II", 0, len(head))
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + first + zeros * (megabytes // 16) + end


@pytest.mark.parametrize("packed", [_repeated, _lying])
def test_a_gzip_bomb_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: Callable[[bytes, int], bytes]
) -> None:
    from mets3d.data.nifti import content

    (tmp_path / "a.nii.gz").write_bytes(packed(_header(tmp_path), 64))
    monkeypatch.setattr(content, "MOST_BEHIND", 1 << 25)
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match="behind them; correct the header's dim"):
            read_image(tmp_path / "a.nii.gz")
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_an_nrrd_bomb_and_voxels_elsewhere_are_refused(tmp_path: Path) -> None:
    nrrd = pytest.importorskip("nrrd")
    space = {"space": "RAS", "space directions": np.eye(3), "space origin": np.zeros(3), "encoding": "gzip"}
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((200, 200, 200), np.uint8), space)
    whole = (tmp_path / "a.nrrd").read_bytes()
    (tmp_path / "b.nrrd").write_bytes(whole.replace(b"sizes: 200 200 200", b"sizes: 5 5 5"))
    with pytest.raises(FileError, match="more voxels than its sizes"):
        read_image(tmp_path / "b.nrrd")
    (tmp_path / "inside").mkdir()
    detached = whole.partition(b"\n\n")[0].replace(b"encoding: gzip", b"encoding: raw") + b"\ndata file: ../a.nrrd\n"
    (tmp_path / "inside" / "c.nhdr").write_bytes(detached)
    with pytest.raises(FileError, match=r"a file beside it, found \.\./a\.nrrd"):
        read_image(tmp_path / "inside" / "c.nhdr")


def test_changed_headers_and_label_files_are_survived(tmp_path: Path) -> None:
    outcome = fuzz(tmp_path, 60, seed=12)
    assert outcome.faults == []
    assert all(20 < refused < 60 for stage, refused in outcome.refused.items() if stage != "evaluate")


# ---------------------------------------------------------------- names and links


@pytest.mark.parametrize(("name", "plain"), [("A-000", True), ("a b", True), ("..a", True), ("", False), (".", False),
                                             ("..", False), ("../a", False), ("a/b", False), ("a\\b", False),
                                             ("/a", False), ("a\0", False)])  # fmt: skip
def test_a_plain_name_leads_nowhere_else(name: str, plain: bool) -> None:
    assert is_plain_name(name) is plain


def test_a_data_set_cannot_name_a_case_out_of_the_store(tmp_path: Path) -> None:
    make_case(tmp_path, "A-000")
    pattern = "{case}/{case}-t1c.nii.gz"
    (tmp_path / "dataset.yaml").write_text(
        yaml.dump({"case": "above/{case}", "sequences": {"t1c": pattern}}), encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"names of cases without / and \\, found 'above/A-000'"):
        find_cases(tmp_path)


@pytest.fixture
def store(phantom_store: Path, tmp_path: Path) -> Path:
    """A store whose files are links, within it."""
    inside = tmp_path / "store"
    (inside / "cases").mkdir(parents=True)
    for name in (INDEX, "fingerprint.json"):
        (inside / name).write_bytes((phantom_store / name).read_bytes())
    for file in (phantom_store / "cases").iterdir():
        (inside / "cases" / file.name).hardlink_to(file)
    return inside


def test_a_store_cannot_name_a_case_beside_it(store: Path) -> None:
    open_store(store)
    index = json.loads((store / INDEX).read_text(encoding="utf-8"))
    index["cases"]["../../elsewhere"] = index["cases"]["BraTS-MET-90001-000"]
    (store / INDEX).write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(DataError, match=r"no name of a case with what is known of it: \['\.\./\.\./elsewhere'\]"):
        open_store(store)


@pytest.mark.parametrize("content", ["[]", "{", '{"format": 0}', '{"cases": 3}', "[" * 100_000])
def test_a_broken_index_is_one_message(store: Path, content: str) -> None:
    (store / INDEX).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="store"):
        open_store(store)


def test_a_link_out_of_the_store_is_refused(store: Path, tmp_path: Path) -> None:
    case = store / "cases" / "BraTS-MET-90002-000.safetensors"
    case.rename(tmp_path / "elsewhere.safetensors")
    case.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(
        DataError, match=r"90002-000\.safetensors: a link to .*elsewhere\.safetensors, out of the store"
    ):
        open_store(store)
    case.unlink()
    (tmp_path / "elsewhere.safetensors").rename(case.with_name("moved.safetensors"))
    case.symlink_to("moved.safetensors")
    open_store(store)
    (store / "cases").rename(tmp_path / "cases")
    (store / "cases").symlink_to(tmp_path / "cases")
    with pytest.raises(DataError, match=r"cases: a link to .*, out of the store"):
        open_store(store)
    (tmp_path / "link").symlink_to(store)  # a store may itself be reached by a link
    (store / "cases").unlink()
    (tmp_path / "cases").rename(store / "cases")
    open_store(tmp_path / "link")
