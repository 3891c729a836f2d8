from mets3d.phantoms.names import phantom_name
from mets3d.reporting.head_lines import head_lines, phantoms_in_words
from mets3d.reporting.read_run import read_runs
from tests.reporting.conftest import random_scores

PHANTOMS = tuple(map(phantom_name, range(3)))
PATIENTS = ("BraTS-MET-00001-000", "BraTS-MET-00089-001")


def test_runs_that_are_alike_have_one_line(make_run):
    names = ("one", "two", "three")
    runs = read_runs([make_run(name, cases=PATIENTS, scores=random_scores(PATIENTS, 0)) for name in names])
    (line,) = head_lines(runs[:2])
    assert line.startswith("Both: 3D")
    (line,) = head_lines(runs)
    assert line.startswith("All 3: 3D")
    (line,) = head_lines(runs[:1])
    assert line.startswith("3D")
    fewer = read_runs([make_run("fewer", cases=PATIENTS[:1], scores=random_scores(PATIENTS[:1], 0))])
    lines = head_lines([*runs, *fewer])
    assert [line.split(": ")[0] for line in lines] == ["one, two and three", "fewer"]


def test_phantoms_are_called_so(make_run):
    def said(name, cases, trained_on):
        run = make_run(name, cases=cases, trained_on=trained_on, scores=random_scores(cases, 0))
        return head_lines(read_runs([run]))[0]

    all_phantoms = "Synthetic phantoms, not patients (all names are those that mets3d synth gives)."
    assert said("phantoms", PHANTOMS[:2], PHANTOMS[2:]) == all_phantoms
    some = "3 of 5 cases are synthetic phantoms, not patients (their names are those that mets3d synth gives)."
    assert said("mixed", PATIENTS, PHANTOMS) == some
    assert said("patients", PATIENTS[:1], PATIENTS[1:]).startswith("3D")
    assert phantoms_in_words([]) == ""
