from mets3d import __version__
from mets3d.reporting.compare import compared
from mets3d.reporting.read_run import read_run, read_runs
from mets3d.reporting.sections.glossary import glossary_section
from mets3d.reporting.sections.methods import methods_paragraph, methods_section
from mets3d.statistics.family import family_tests
from tests.reporting.conftest import random_scores

CASES = ("A", "B", "C", "D", "E", "F", "G")


def test_a_comparison_names_network_data_rules_tests_and_versions(make_run):
    environment = {"parameters": 1_200_000, "torch": "2.9.1", "mets3d": "0.0.9", "device": "cpu, 2 cores"}
    term = {"loss": {"boundary": "hausdorff_distance"}}
    runs = [
        make_run(name, cases=CASES, scores=random_scores(CASES, seed), settings=settings, environment=environment)
        for seed, (name, settings) in enumerate((("base", {}), ("term", term)))
    ]
    records = read_runs(runs)
    study = compared(records, CASES)
    text = methods_paragraph(records, study)
    for part in (
        *("1.2 million parameters", "arXiv 2310.07781", "Karimi and Salcudean", "trained for 40 steps", "seed 0"),
        *("4 cases for training and 7 held-out cases of 7 patients", "BraTS-METS 2023", "arXiv 2306.00838"),
        *("10,000 resamples", f"over {len(family_tests(study.differences))} tests", "loss.boundary"),
        *("PyTorch 2.9.1", "mets3d 0.0.9", "on cpu, 2 cores", f"with mets3d {__version__}"),
    ):
        assert part in text
    html = methods_section(records, study).html
    assert 'data-copies="methods-text"' in html
    assert "Karimi and Salcudean" in html


def test_what_a_run_does_not_say_is_left_out(make_run):
    text = methods_paragraph([read_run(make_run(environment=None, metrics=None, split=False))], None)
    assert "None" not in text
    assert "Data:" not in text
    assert "were scored" not in text
    assert "Differences" not in text


def test_the_glossary_explains_the_regions_that_are_shown(make_run):
    html = glossary_section([read_run(make_run(scores=random_scores(("A",), 0)))]).html
    assert "<dt>ET</dt><dd>enhancing tumour:" in html
    assert "<dt>RC</dt>" not in html
