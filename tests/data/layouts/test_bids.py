"""BIDS: sessions, contrast as an entity, derivatives and references."""

from pathlib import Path

from mets3d.data.cases import find_cases
from tests.builders.layouts import filled, first_values, names_in, touched, words_of

RAW = ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR")


def test_sessions_and_their_references(tmp_path: Path) -> None:
    filled(tmp_path, {f"sub-01/ses-02/anat/sub-01_ses-02_{name}.nii.gz": n for n, name in enumerate(RAW)})
    masks = "derivatives/lesions/sub-01/ses-02/anat"
    touched(
        tmp_path,
        *words_of("sub-02/anat", "sub-02_*.nii", *RAW[:2]),
        f"{masks}/sub-01_ses-02_desc-brain_mask.nii.gz",
        f"{masks}/sub-01_ses-02_space-T1w_desc-lesion_mask.nii.gz",
        "derivatives/lesions/sub-02/anat/sub-02_dseg.nii.gz",
        "sub-02/anat/sub-02_T1w.json",
    )
    first, second = found = find_cases(tmp_path)
    assert found.layout.startswith("BIDS (")
    assert (first.name, first.patient, second.name, second.patient) == ("sub-01_ses-02", "sub-01", "sub-02", "sub-02")
    assert first_values(first) == {"t1n": 0, "t1c": 1, "t2w": 2, "t2f": 3}
    assert names_in(first, tmp_path)["seg"] == f"{masks}/sub-01_ses-02_space-T1w_desc-lesion_mask.nii.gz"
    assert names_in(second, tmp_path) == {
        "t1n": "sub-02/anat/sub-02_T1w.nii",
        "t1c": "sub-02/anat/sub-02_ce-gadolinium_T1w.nii",
        "seg": "derivatives/lesions/sub-02/anat/sub-02_dseg.nii.gz",
    }
    assert (found.where, found.findings) == ({tmp_path: 2}, [])


def test_a_derivative_with_all_sequences_comes_before_raw_data(tmp_path: Path) -> None:
    made = "derivatives/stripped/sub-01/anat"
    touched(
        tmp_path,
        *words_of("sub-01/anat", "sub-01_*.nii.gz", *RAW),
        *words_of(made, "sub-01_*.nii.gz", *(f"space-T1w_desc-preproc_{name}" for name in ("T1w", "T2w", "FLAIR"))),
        f"{made}/sub-01_ce-gd_space-T1w_desc-preproc_T1w.nii.gz",
    )
    (case,) = found = find_cases(tmp_path)
    assert {Path(name).parent.as_posix() for name in names_in(case, tmp_path).values()} == {made}
    (note,) = found.findings
    assert (note.severity, note.what) == ("note", "several variants")
    assert "derivatives/stripped, space-T1w, desc-preproc" in note.detail


def test_what_a_derivative_lacks_comes_from_raw_data(tmp_path: Path) -> None:
    touched(
        tmp_path,
        "sub-01/anat/sub-01_FLAIR.nii.gz",
        *words_of("derivatives/x/sub-01/anat", "sub-01_*.nii.gz", "T1w", "ce-gd_T1w"),
    )
    (case,) = find_cases(tmp_path)
    assert names_in(case, tmp_path)["t2f"] == "sub-01/anat/sub-01_FLAIR.nii.gz"
    assert names_in(case, tmp_path)["t1n"] == "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz"


def test_repeated_runs_are_told(tmp_path: Path) -> None:
    touched(tmp_path, *words_of("sub-01/anat", "sub-01_*_T1w.nii.gz", "run-1", "run-2", "ce-gd"))
    (case,) = found = find_cases(tmp_path)
    assert names_in(case, tmp_path)["t1n"] == "sub-01/anat/sub-01_run-1_T1w.nii.gz"
    assert [finding.what for finding in found.findings] == ["scan there twice"]


def test_tissue_maps_are_no_references(tmp_path: Path) -> None:
    touched(tmp_path, *words_of("sub-01/anat", "sub-01_*.nii.gz", "T1w", "desc-aseg_dseg", "label-GM_mask"))
    (case,) = find_cases(tmp_path)
    assert case.labels is None
