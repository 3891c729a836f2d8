from mets3d.reporting.arms import as_arms
from mets3d.reporting.figures import Figures
from mets3d.reporting.read_run import read_runs
from mets3d.reporting.sections.found_by_one import found_by_one_section
from tests.reporting.conftest import LESIONS, Page, random_scores, write_table

CASES = ("A", "B")


def lesions(kind, other):
    rows = [("A", "ET", 1, kind, 300.0), ("B", "ET", 1, other, 20.0), ("B", "ET", 2, "found", 900.0)]
    return [(case, region, "brats2023", n, what, "", volume, 0.5, 1.0) for case, region, n, what, volume in rows]


def two_runs(make_run, data=None):
    runs = []
    for name, kinds in (("base", ("missed", "found")), ("term", ("found", "missed"))):
        run = make_run(name, cases=CASES, scores=random_scores(CASES, 0), data=data)
        write_table(run / "lesions.csv", LESIONS, lesions(*kinds))
        runs.append(run)
    return read_runs(runs)


def test_lesions_largest_first_with_links_to_their_cases(make_run, tmp_path):
    made = found_by_one_section(two_runs(make_run), CASES, Figures(tmp_path / "f"), {"A": "cases/A b.html"})
    (rows,) = Page(made.html).tables.values()
    assert rows[1:] == [["ET 1", "A", "300.0", "term", "base"], ["ET 1", "B", "20.0", "base", "term"]]
    assert 'href="cases/A%20b.html#lesion-ET-1"' in made.html
    assert (
        "Found by term alone: 0 in WT, 0 in TC, 1 in ET. Found by base alone: 0 in WT, 0 in TC, 1 in ET." in made.html
    )


def test_the_first_are_pictured_in_both_runs(make_run, data_set, tmp_path):
    import nibabel
    import numpy as np

    data = data_set(CASES)
    records = two_runs(make_run, data)
    base = records[0].predictions["A"]
    nibabel.save(nibabel.Nifti1Image(np.zeros((40, 36, 20), np.uint8), np.eye(4)), base)
    made = found_by_one_section(records, CASES, Figures(tmp_path / "f"))
    assert (tmp_path / "f" / "found_by_one.svg").read_text().count("<image") == 2
    assert 'alt="Lesions that one arm missed: A, ET 1: base missed, term found."' in made.html


def test_of_arms_the_runs_are_counted_on_their_side(make_run, tmp_path):
    runs = []
    for seed, kind in enumerate(("missed", "found", "missed")):
        run = make_run(f"base{seed}", cases=CASES, scores=random_scores(CASES, 0), settings={"seed": seed})
        write_table(run / "lesions.csv", LESIONS, lesions(kind, "found"))
        runs.append(run)
    term = make_run("term", cases=CASES, scores=random_scores(CASES, 0), settings={"loss": {"boundary": "blob"}})
    write_table(term / "lesions.csv", LESIONS, lesions("found", "found"))
    made = found_by_one_section(as_arms(read_runs([*runs, term])), CASES, Figures(tmp_path / "f"))
    (rows,) = Page(made.html).tables.values()
    assert rows[1:] == [["ET 1", "A", "300.0", "loss.boundary=blob (1 of 1 run)", "base (1 of 3 runs)"]]


def test_without_lesions_there_is_no_section(make_run, tmp_path):
    records = read_runs([make_run(name, scores=random_scores(("A",), 0)) for name in ("one", "two")])
    assert found_by_one_section(records, ["A"], Figures(tmp_path / "f")) is None
