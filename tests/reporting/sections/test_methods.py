from mets3d import __version__
from mets3d.phantoms.names import phantom_name
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


def test_the_decoding_of_every_arm_is_told(make_run):
    def scores(how):
        return {key: row | {"decoding": how} for key, row in random_scores(CASES, 0).items()}

    runs = [
        make_run(name, cases=CASES, scores=scores(how), settings=settings)
        for name, how, settings in (
            ("base", "default", {}),
            ("term", "tuned out-of-fold", {}),
            ("other", "default", {"predict": {"overlap": 0.25}}),
        )
    ]
    records = read_runs(runs)
    text = methods_paragraph(records, compared(records, CASES))
    assert "base: an overlap of 0.5, decoding: default; term: an overlap of 0.5, decoding: tuned out-of-fold; " in text
    assert "other: an overlap of 0.25, decoding: default)" in text
    alone = methods_paragraph(records[:1], None)
    assert "by sliding windows with an overlap of 0.5, decoding: default." in alone


def test_weights_chosen_on_scored_cases_and_phantoms_are_told(make_run):
    cases = [phantom_name(number) for number in range(7)]
    metrics = [{"step": step, "kind": "validation", "lesion_wise_dice/mean": 0.5} for step in (20, 40)]
    run = make_run(cases=cases, trained_on=[phantom_name(9)], scores=random_scores(cases, 0), metrics=metrics)
    text = methods_paragraph([read_run(run)], None)
    assert (
        "the highest mean lesion-wise Dice in a validation were kept. The weights were chosen by validation on" in text
    )
    assert "The cases are synthetic phantoms, not patients (all names" in text


def test_the_glossary_explains_the_words_of_a_comparison(make_run):
    html = glossary_section([read_run(make_run(scores=random_scores(("A",), 0)))]).html
    words = ("Arm", "Seed", "Fold", "Design effect", "False lesion", "NETC", "SNFH", "Held-out case")
    assert [word for word in words if f"<dt>{word}</dt>" not in html] == []
