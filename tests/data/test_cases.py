"""Discovery of cases, patients and folds."""

from pathlib import Path

import pytest

from mets3d.data import DataError
from mets3d.data.cases import Scan, find_cases
from tests.builders.cases import make_case


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def layout(data: Path, *files: str) -> Path:
    for file in files:
        touch(data / file)
    return data


def test_cases_are_found_at_any_depth_and_counted_by_folder(tmp_path: Path) -> None:
    layout(
        tmp_path,
        "P-2-001/P-2-001-t1n.nii.gz",
        "P-2-001/P-2-001-seg.nii.gz",
        "UCSD - Training/deep/Zed/Zed-t2f.nii",
        "A/A-t1c.nii.gz",
    )
    found = find_cases(tmp_path)
    assert [case.name for case in found] == ["A", "P-2-001", "Zed"]
    assert found.where == {tmp_path: 2, tmp_path / "UCSD - Training" / "deep": 1}
    assert found.findings == []
    first, second, third = found
    assert second.labels == tmp_path / "P-2-001" / "P-2-001-seg.nii.gz"
    assert first.labels is None
    assert third.sequences == {"t2f": Scan(tmp_path / "UCSD - Training" / "deep" / "Zed" / "Zed-t2f.nii")}
    assert third.missing == ("t1n", "t1c", "t2w")


def test_a_case_folder_itself_can_be_named(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    assert [found.name for found in find_cases(case.folder)] == [case.name]


def test_files_keep_channel_order_and_the_reference_comes_last(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    kinds = [file.name.removeprefix(case.name + "-").removesuffix(".nii.gz") for file in case.files]
    assert kinds == ["t1n", "t1c", "t2w", "t2f", "seg"]


def test_mac_files_and_hidden_folders_do_not_exist(tmp_path: Path) -> None:
    layout(tmp_path, "A/A-t1n.nii.gz", "A/._A-t1c.nii.gz", "._B/._B-t1n.nii.gz", ".cache/C/C-t1n.nii.gz")
    (case,) = found = find_cases(layout(tmp_path, "D/._D_t1.nii.gz"))
    assert list(case.sequences) == ["t1n"]
    assert found.findings == []


def test_a_case_in_two_folders_is_an_error_that_names_both(tmp_path: Path) -> None:
    found = find_cases(layout(tmp_path, "old/A/A-t1n.nii.gz", "new/A/A-t1n.nii.gz"))
    assert [case.folder for case in found] == [tmp_path / "new" / "A"]
    (finding,) = found.findings
    assert (finding.case, finding.severity) == ("A", "error")
    assert str(tmp_path / "new" / "A") in finding.detail
    assert str(tmp_path / "old" / "A") in finding.detail


def test_the_same_scan_twice_is_a_warning(tmp_path: Path) -> None:
    (case,) = found = find_cases(layout(tmp_path, "A/A-t1n.nii", "A/A-t1n.nii.gz"))
    assert case.sequences["t1n"].path.name == "A-t1n.nii.gz"
    assert [finding.severity for finding in found.findings] == ["warning"]


def test_folders_of_other_files_are_told(tmp_path: Path) -> None:
    found = find_cases(layout(tmp_path, "A/A-t1n.nii.gz", "B/B_swi.nii.gz", "B/B_adc.nii.gz", "C/readme.txt"))
    (finding,) = found.findings
    assert (finding.case, finding.severity) == ("B", "warning")
    assert "2 NIfTI files" in finding.detail


def test_a_link_that_leads_back_up_ends(tmp_path: Path) -> None:
    layout(tmp_path, "A/A-t1n.nii.gz")
    (tmp_path / "A" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(find_cases(tmp_path)) == 1
    assert find_cases(tmp_path).findings == []


def test_a_case_folder_that_is_a_link_has_either_name(tmp_path: Path) -> None:
    layout(tmp_path, "store/download_7f3a/A-t1n.nii.gz", "store/download_7f3a/A-seg.nii.gz", "store/B/B-t1c.nii.gz")
    data = tmp_path / "data"
    data.mkdir()
    for link, folder in (("A", "download_7f3a"), ("case_2", "B")):
        (data / link).symlink_to(tmp_path / "store" / folder, target_is_directory=True)
    found = find_cases(data)
    assert [(case.name, case.folder) for case in found] == [("A", data / "A"), ("B", data / "case_2")]
    assert found[0].labels == data / "A" / "A-seg.nii.gz"
    assert found[1].sequences == {"t1c": Scan(data / "case_2" / "B-t1c.nii.gz")}
    assert found.findings == []


def test_a_link_whose_folder_has_files_of_both_names_is_the_case_of_the_link(tmp_path: Path) -> None:
    layout(tmp_path, "store/B/A-t1n.nii.gz", "store/B/B-t1n.nii.gz")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "A").symlink_to(tmp_path / "store" / "B", target_is_directory=True)
    assert [(case.name, [scan.path for scan in case.sequences.values()]) for case in find_cases(tmp_path / "data")] == [
        ("A", [tmp_path / "data" / "A" / "A-t1n.nii.gz"])
    ]


def test_the_folder_one_is_in_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout(tmp_path, "store/B/A-t1n.nii.gz", "plain/C/C-t1n.nii.gz")
    (tmp_path / "A").symlink_to(tmp_path / "store" / "B", target_is_directory=True)
    for folder, name in (("A", "A"), ("plain/C", "C")):
        monkeypatch.chdir(tmp_path / folder)
        monkeypatch.setenv("PWD", str(tmp_path / folder))
        assert [case.name for case in find_cases(Path())] == [name]
    monkeypatch.setenv("PWD", str(tmp_path / "elsewhere"))
    assert [case.name for case in find_cases(Path())] == ["C"]


def test_a_link_beside_its_folder_names_the_case(tmp_path: Path) -> None:
    """Whichever of the two comes first in the alphabet."""
    layout(tmp_path, "download_7f3a/A-t1n.nii.gz", "download_7f3b/z-t1n.nii.gz")
    for link, folder in (("A", "download_7f3a"), ("z", "download_7f3b")):
        (tmp_path / link).symlink_to(tmp_path / folder, target_is_directory=True)
    found = find_cases(tmp_path)
    assert [(case.name, case.folder) for case in found] == [("A", tmp_path / "A"), ("z", tmp_path / "z")]
    assert found.findings == []


def test_no_folder_and_no_case_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no NIfTI file"):
        find_cases(tmp_path)
    with pytest.raises(DataError, match=r"1 NIfTI files such as .*B_swi"):
        find_cases(layout(tmp_path, "B/B_swi.nii.gz"))
