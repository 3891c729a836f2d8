import shutil

from mets3d.reporting.read_run import read_runs
from mets3d.reporting.sections.chosen_cases import chosen_cases, predicted_cases


def test_chosen_cases_are_the_worst_the_middle_and_the_best_in_the_order_of_the_table():
    ranked = [f"c{rank:02d}" for rank in range(11)]  # the worst first, and by no means by name
    ranked[0], ranked[10] = "z", "a"
    assert chosen_cases(ranked, sorted(ranked)) == [
        *(("z", "worst"), ("c01", "case 2 of 11"), ("c05", "case 6 of 11, median"), ("c06", "case 7 of 11")),
        *(("c09", "case 10 of 11"), ("a", "best")),
    ]
    assert chosen_cases(["a", "b"], ["b", "a", "unscored"]) == [("a", "worst"), ("b", "best"), ("unscored", "")]
    assert chosen_cases([], list("hgfedcba")) == [(name, "") for name in "abcdef"]
    assert chosen_cases(["a"], ["a"]) == [("a", "")]
    assert [case for case, _ in chosen_cases(ranked, ranked, most=3)] == ["z", "c05", "a"]
    assert chosen_cases(ranked, ["c09", "c01"], most=1) == [("c01", "case 2 of 11")], "rank among all"


def test_the_cases_that_training_has_not_seen_are_pictured_if_there_are_any(make_run, data_set):
    data = data_set(("A", "B", "C"))
    runs = [make_run("one", cases=("A", "B", "C"), trained_on=("A",), data=data)]
    assert sorted(predicted_cases(read_runs(runs))) == ["B", "C"]
    runs.append(make_run("two", cases=("A", "B"), trained_on=("T",), data=data))
    assert sorted(predicted_cases(read_runs(runs))) == ["B"]
    only = make_run("three", cases=("A",), trained_on=("A",), data=data)
    assert sorted(predicted_cases(read_runs([only]))) == ["A"]


def test_references_are_pictured_as_the_run_read_them(make_run, data_set, tmp_path):
    data = data_set(("A", "B"))
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    shutil.copy(next((data / "A").glob("*-seg.nii*")), overlay)
    settings = {"data": {"labels": {7: 3}, "overlay": str(overlay)}}
    own = make_run("one", cases=("A",), trained_on=("B",), data=data, settings=settings)
    found = predicted_cases(read_runs([own]))
    assert (found["A"].label_map, found["A"].labels.parent) == ({7: 3}, overlay)
    other = make_run("two", cases=("A",), trained_on=("T",), data=data, settings=settings)
    found = predicted_cases(read_runs([other]))
    assert (found["A"].label_map, found["A"].labels.parent) == ({7: 3}, data / "A")


def test_a_note_says_why_no_case_is_pictured(make_run, data_set):
    data = data_set(("A", "B"))
    records = read_runs([make_run("one", cases=("A",), data=data), make_run("two", cases=("B",), data=data)])
    assert predicted_cases(records) == {}
    assert f"No slices: {data} holds no case that every run predicted." in [note.text for note in records[0].notes]
    shutil.rmtree(data / "A")
    shutil.rmtree(data / "B")
    assert predicted_cases(records) == {}
    assert records[0].notes[-1].text.startswith("No slices: ")
    assert predicted_cases(read_runs([make_run("three")])) == {}
