"""`mets3d doctor`: facts for a bug report, a finding with its remedy for each thing that will fail, no secret."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from mets3d.__main__ import main
from mets3d.workplace import devices, diagnosis
from mets3d.workplace.diagnosis import diagnose

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "distances", lambda findings: {"cpu": "numba"})


def test_json_has_the_same_facts_and_no_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret-0123")
    code = main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code == (1 if told["findings"] else 0)
    assert told["packages"]["torch"] == torch.__version__
    assert told["W&B"]["key"] == "in WANDB_API_KEY"
    assert "quickstart" in told["files"]["configurations"]
    assert "multi_node" in told["files"]["launch files"]
    assert main(["doctor"]) == code
    lines = capsys.readouterr().out
    assert "secret" not in lines + json.dumps(told)
    assert torch.__version__ in lines
    assert lines.rstrip().splitlines()[-1].startswith("! " if code else "nothing to mend")


@pytest.mark.parametrize(("free", "found"), [(64e6, True), (8e9, False)])
def test_little_shared_memory_is_a_finding(monkeypatch: pytest.MonkeyPatch, free: float, found: bool) -> None:
    real = shutil.disk_usage
    small = Usage(free, 0, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: small if str(path) == "/dev/shm" else real(path))
    monkeypatch.setattr(diagnosis, "SHARED_MEMORY", Path("/dev/shm"))
    findings = [finding for finding in diagnose().findings if "--shm-size" in finding]
    assert bool(findings) is (found and Path("/dev/shm").is_dir())


def test_a_full_disk_and_a_folder_that_cannot_be_written_are_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1e11, 9.9e10, 1e9))
    monkeypatch.setattr(diagnosis.os, "access", lambda path, mode: False)
    findings = " ".join(diagnose(tmp_path).findings)
    assert f"{tmp_path} cannot be written" in findings
    assert f"{tmp_path} has 1.0 GB free" in findings


def test_a_missing_and_an_old_package_are_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "requires", lambda name: ["torch>=99", "nowhere>=1", "nothing>=1; extra == 'onnx'"])
    found = diagnose()
    assert f"torch: expected >=99, found {torch.__version__}" in found.findings
    assert "nowhere: expected >=1, found none" in found.findings
    assert found.facts["packages"]["extra onnx"] == "not installed: pip install 'mets3d[onnx]'"
    assert not any("nothing" in finding for finding in found.findings), "an extra need not be there"


@pytest.mark.parametrize(
    ("cuda", "driver", "finding"),
    [
        (None, True, "torch is a build for CPUs"),
        ("13.0", True, "torch sees none"),
        ("13.0", False, "start it with --gpus all"),
        (None, False, None),
    ],
)
def test_a_gpu_that_cannot_be_used_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, cuda: str | None, driver: bool, finding: str | None
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "_has_driver", lambda: driver)
    findings: list[str] = []
    assert devices.gpus(findings) == {"GPUs": "none"}
    assert (findings == []) if finding is None else (finding in findings[0])


def test_a_gpu_that_is_lost_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(index: int) -> None:
        raise RuntimeError("CUDA error: device-side assert\nmore lines")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lost)
    findings: list[str] = []
    assert devices.gpus(findings)["GPU 0"] == "cannot be used"
    assert findings == ["GPU 0 cannot be used: CUDA error: device-side assert; look at nvidia-smi"]


def test_the_distances_are_tried() -> None:
    findings: list[str] = []
    assert devices.distances(findings, ["cpu"]) == {"cpu": "numba"}
    assert findings == []
