import base64
import itertools
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from scipy import stats

from mets3d.reporting import report, summary_text
from mets3d.reporting.compare import holm_corrected
from mets3d.reporting.run_record import read_runs
from mets3d.statistics.comparison_tables import p_text

CASES = ("A", "B", "C", "D", "E", "F", "G")


@pytest.fixture
def empty_curves(monkeypatch):
    """Drawing diagrams takes most of a report's time; they have their own tests."""
    monkeypatch.setattr("mets3d.reporting.page.training_figure", lambda record: b"<svg/>")
    monkeypatch.setattr("mets3d.reporting.page.cohort_section", lambda records, cases, figures: "")


def test_one_run_has_every_part_and_its_figures(make_run, data_set, scores_of, read_page, tmp_path):
    cases = CASES[:2]
    seen = []
    run = make_run(cases=cases, data=data_set(cases), scores=scores_of(cases, 0))
    index = report([run], tmp_path / "out", progress=lambda *step: seen.append(step))
    page = read_page(index)
    assert index == tmp_path / "out" / "index.html"
    assert sorted(file.name for file in (tmp_path / "out" / "figures").iterdir()) == [
        *("cohort_scores.svg", "lesions_A.svg", "lesions_B.svg", "slices_A.svg", "slices_B.svg", "training.svg"),
    ]
    headings = ("Scores on 2 held-out cases", "Lesions and cohort", "Slices and lesions", "What was trained")
    places = [index.read_text().index(f"<h2>{heading}</h2>") for heading in headings]
    assert places == sorted(places)
    assert [(done, total) for done, total, _ in seen] == [(1, 2), (2, 2)]
    for said in ("train.py --a=b", "1,234,567", "A, lesions by ET: 1 found, 0 missed, 0 false."):
        assert said in page.text


def test_the_page_loads_nothing_from_elsewhere(make_run, data_set, scores_of, read_page, tmp_path):
    run = make_run(cases=("A",), data=data_set(("A",)), scores=scores_of(("A",), 0))
    index = report([run], tmp_path / "out")
    page = read_page(index)
    assert len(page.sources) == 4  # slices and lesions of one case, training, cohort
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    style = re.search(r"<style>(.*?)</style>", index.read_text(), re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style
    for source in page.sources:
        svg = base64.b64decode(source.partition("base64,")[2])
        for element in ET.fromstring(svg).iter():
            loaded = [value for key, value in element.attrib.items() if key.endswith("href")]
            assert all(value.startswith(("data:image/png;base64,", "#")) for value in loaded)


def test_figure_files_are_the_figures_in_the_page(make_run, data_set, scores_of, read_page, tmp_path):
    run = make_run(cases=("A",), data=data_set(("A",)), scores=scores_of(("A",), 0))
    page = read_page(report([run], tmp_path / "out"))
    inside = {base64.b64decode(source.partition("base64,")[2]) for source in page.sources}
    assert inside == {file.read_bytes() for file in (tmp_path / "out" / "figures").iterdir()}


def test_region_table_values(make_run, scores_of, read_page, tmp_path, empty_curves):
    scores = scores_of(CASES, 3)
    scores["B", "TC"]["lesion_wise_hd95"] = ""  # no value
    page = read_page(report([make_run(cases=CASES, scores=scores)], tmp_path / "out"))
    for caption, column, digits in (
        ("Lesion-wise Dice", "lesion_wise_dice", 3),
        ("Lesion-wise HD95", "lesion_wise_hd95", 1),
        ("Whole-volume Dice", "dice", 3),
        ("Whole-volume HD95", "hd95", 1),
    ):
        rows = {row[0]: row[1:] for row in page.tables[caption][1:]}
        for region in ("WT", "TC", "ET"):
            values = sorted(scores[case, region][column] for case in CASES if scores[case, region][column] != "")
            n, mean = len(values), sum(values) / len(values)
            sd = (sum((value - mean) ** 2 for value in values) / (n - 1)) ** 0.5
            by_case = [scores[case, region][column] for case in CASES if scores[case, region][column] != ""]
            drawn = np.random.default_rng(0).integers(n, size=(10_000, n))
            low, high = np.quantile(np.array(by_case)[drawn].mean(1), [0.025, 0.975])
            spread = [sd, *(at(values, share) for share in (0.5, 0.25, 0.75))]
            assert rows[region] == [
                *(str(n), f"{mean:.{digits}f}", f"{low:.{digits}f} to {high:.{digits}f}"),
                *(f"{value:.{digits}f}" for value in spread),
            ]


def at(ordered, share):
    """Quantile by hand: linear between the neighbours of position share x (n - 1)."""
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


def test_lesion_counts_and_cases(make_run, scores_of, read_page, tmp_path, empty_curves):
    scores = scores_of(CASES, 4)
    page = read_page(report([make_run(cases=CASES, scores=scores)], tmp_path / "out"))
    totals = {row[0]: row[1:] for row in page.tables["Lesions"][1:]}
    for region in ("WT", "TC", "ET"):
        found, missed, false = (
            sum(scores[case, region][f"lesions_{kind}"] for case in CASES) for kind in ("found", "missed", "false")
        )
        assert totals[region] == [str(found), str(missed), str(false), f"{round(100 * found / (found + missed))} %"]
    cases = next(rows for rows in page.tables.values() if rows[1:] and rows[1][0] == "Case")
    assert [row[0] for row in cases[2:]] == list(CASES)
    row, values = cases[2], scores["A", "WT"]
    assert row[1:6] == [
        f"{values['lesion_wise_dice']:.3f}",
        f"{values['lesion_wise_hd95']:.1f}",
        f"{values['dice']:.3f}",
        f"{values['hd95']:.1f}",
        f"{values['lesions_found']}/{values['lesions_missed']}/{values['lesions_false']}",
    ]
    assert len(row) == 16


def test_threshold_beside_the_network_on_the_same_cases(make_run, scores_of, read_page, tmp_path, empty_curves):
    scores = scores_of(("A", "B", "C"), 5)
    per_case = {"A": 0.3, "B": 0.5, "elsewhere": 0.99, "C": None}
    baseline = {"sequence": "t2f", "region": "WT", "threshold": 1.5, "validation_dice": 0.59, "per_case": per_case}
    run = make_run(scores=scores, baseline=baseline)
    network = (scores["A", "WT"]["dice"] + scores["B", "WT"]["dice"]) / 2
    sign = "+" if network > 0.4 else "\u2212"
    expected = (
        "Best single threshold on t2f, chosen on the training cases: WT Dice 0.400 on 2 held-out cases. The network "
        f"reaches {network:.3f} on the same cases, a difference of {sign}{abs(network - 0.4):.3f}."
    )
    assert expected in read_page(report([run], tmp_path / "out")).text
    assert expected in summary_text(run)


def test_cases_of_the_training_are_not_scored(make_run, scores_of, read_page, tmp_path, empty_curves):
    scores = scores_of(("A", "B", "T1"), 6)
    page = read_page(report([make_run(cases=("A", "B"), scores=scores)], tmp_path / "out"))
    mean = np.mean([scores["A", "ET"]["dice"], scores["B", "ET"]["dice"]])
    assert page.tables["Whole-volume Dice"][3][1:3] == ["2", f"{mean:.3f}"]
    assert "1 scored cases were used in training; they are left out: T1." in page.text


def test_text_from_files_is_escaped(make_run, scores_of, tmp_path, empty_curves):
    hostile = "<script>alert('x')</script>&\"$body"
    environment = {"command": hostile, "device": hostile, "parameters": 5}
    run = make_run(cases=(hostile,), scores=scores_of((hostile,), 0), environment=environment)
    html = report([run], tmp_path / "out").read_text()
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;&quot;$body") >= 3


def test_names_of_cases_are_escaped_beneath_their_slices(make_run, data_set, scores_of, tmp_path, empty_curves):
    name = '<i>&"A'
    run = make_run(cases=(name,), data=data_set((name,)), scores=scores_of((name,), 0))
    html = report([run], tmp_path / "out").read_text()
    assert "<figcaption>&lt;i&gt;&amp;&quot;A. Dice" in html
    assert 'alt="&lt;i&gt;&amp;&quot;A. Dice' in html
    assert name not in html
    assert (tmp_path / "out" / "figures" / "slices__i___A.svg").exists()


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("scores.csv", "mets3d evaluate"),
        ("metrics.jsonl", "no training curves"),
        ("environment.json", "hardware, time and command are unknown"),
        ("split.json", "which cases were held out is unknown"),
        ("baseline.json", "no comparison with a threshold"),
        ("predictions", "mets3d predict"),
        ("predictions/predict.json", "the scans that were predicted are unknown"),
        ("data", "which slices need, are not at"),
    ],
)
def test_a_missing_piece_is_named_and_the_page_is_made(
    make_run, data_set, scores_of, read_page, tmp_path, empty_curves, missing, said
):
    baseline = {"per_case": {"A": 0.5}, "validation_dice": 0.5}
    run = make_run(cases=("A",), data=data_set(("A",)), scores=scores_of(("A",), 0), baseline=baseline)
    complete = read_page(report([run], tmp_path / "complete")).text
    assert said not in complete
    assert "Read this first" not in complete
    source = tmp_path / "data" if missing == "data" else run / missing
    source.rename(tmp_path / "gone")
    assert said in read_page(report([run], tmp_path / "out")).text


def test_a_run_directory_with_nothing_but_its_settings(make_run, read_page, tmp_path):
    run = make_run(environment=None, metrics=None, split=False)
    page = read_page(report([run], tmp_path / "out"))
    assert page.sources == []
    assert "mets3d predict" in page.text
    assert "mets3d evaluate" in summary_text(run)


def test_files_cut_off_are_named(make_run, scores_of, read_page, tmp_path, empty_curves):
    run = make_run(scores=scores_of(("A",), 0))
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 99, "kind": "tr\n')
    (run / "environment.json").write_text("{")
    (run / "scores.csv").write_text("case,dice\nA,0.5\n")
    text = read_page(report([run], tmp_path / "out")).text
    assert "metrics.jsonl cannot be read" in text
    assert "environment.json cannot be read" in text
    assert "none called region, rules" in text


def test_a_prediction_on_another_grid_costs_only_its_own_slices(make_run, data_set, scores_of, read_page, tmp_path):
    import nibabel

    run = make_run(cases=("A", "B"), data=data_set(("A", "B")), scores=scores_of(("A", "B"), 0))
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 5, 5), np.uint8), np.eye(4)), run / "predictions" / "A.nii.gz")
    page = read_page(report([run], tmp_path / "out"))
    assert "No slices of A: A: the scan has (40, 36, 20) voxels, base has (5, 5, 5)" in page.text
    assert sorted(file.name for file in (tmp_path / "out" / "figures").glob("slices*")) == ["slices_B.svg"]


def test_not_a_run_directory(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(FileNotFoundError, match=r"config\.yaml missing"):
        report([tmp_path / "run"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_runs_and_the_same_run_twice(make_run, tmp_path):
    run = make_run()
    with pytest.raises(ValueError, match="at least one run directory"):
        report([], tmp_path / "out")
    with pytest.raises(ValueError, match="named twice"):
        report([run, run / ".." / "base"], tmp_path / "out")


def test_a_former_report_is_replaced_and_nothing_else_is(make_run, tmp_path, empty_curves):
    run, out = make_run(), tmp_path / "out"
    report([run], out)
    (out / "figures" / "old.svg").write_text("old")
    report([run], out)
    assert not (out / "figures" / "old.svg").exists()

    (out / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"not a former report \(found notes\.txt\)"):
        report([run], out)
    assert (out / "notes.txt").read_text() == "mine"

    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<html>another page</html>")
    with pytest.raises(FileExistsError, match=r"not a former report \(found index\.html\)"):
        report([run], tmp_path / "site")
    with pytest.raises(FileExistsError, match="is a file"):
        report([run], run / "config.yaml")
    with pytest.raises(FileExistsError, match="not a former report"):
        report([run], run)


def test_out_is_whole_or_absent(make_run, tmp_path, monkeypatch):
    run = make_run()
    monkeypatch.setattr("mets3d.reporting.page.training_figure", lambda record: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report([run], tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["runs"]


def test_an_imported_run_does_not_claim_a_training(make_run, read_page, tmp_path):
    run = make_run(environment=None, metrics=None, split=False)
    (run / "plan.json").write_text(json.dumps({"imported_from": "fold0.model"}))
    text = read_page(report([run], tmp_path / "out")).text
    assert "weights imported from fold0.model" in text
    assert "trained for" not in text
    assert "AdamW, peak" not in text


def test_reporting_imports_no_torch():
    code = (
        "import sys, mets3d.reporting, mets3d.reporting.page, mets3d.data.nifti;"
        "heavy = {'torch', 'monai', 'accelerate', 'matplotlib.pyplot'} & set(sys.modules);"
        "print(sorted(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout.split() == [b"[]"]


# ---------------------------------------------------------------- several runs


def test_comparison_tables_against_numpy(make_run, scores_of, read_page, tmp_path):
    base, other = scores_of(CASES, 10), scores_of(CASES, 11)
    runs = [
        make_run("base", cases=CASES, scores=base),
        make_run("hausdorff", cases=CASES, scores=other, settings={"loss": {"boundary": "hausdorff_distance"}}),
    ]
    page = read_page(report(runs, tmp_path / "out"))
    first, second = read_runs(runs)
    family = holm_corrected(first, [second], CASES)
    rng = np.random.default_rng(0)
    drawn = rng.integers(7, size=(10_000, 7))
    for caption, column, digits, better in (
        ("Lesion-wise Dice", "lesion_wise_dice", 3, 1),
        ("Lesion-wise HD95", "lesion_wise_hd95", 2, -1),
        ("Lesions found", "lesions_found", 2, 1),
        ("False lesions", "lesions_false", 2, -1),
    ):
        assert page.tables[caption][0] == [
            *("Region", "base", "hausdorff", "Difference", "95 % interval", "p", "p (Holm)", "Effect", "n"),
            "Better/worse",
        ]
        rows = {row[0]: row[1:] for row in page.tables[caption][1:]}
        for region in ("WT", "TC", "ET"):
            before, after = (np.array([run[case, region][column] for case in CASES], float) for run in (base, other))
            change = after - before
            low, high = np.quantile(change[drawn].mean(1), [0.025, 0.975])
            ranks = stats.rankdata(np.abs(change[change != 0])) * np.sign(better * change[change != 0])
            p, corrected = rows[region][4:6]
            assert p == by_enumeration(ranks)
            assert corrected == p_text(family["hausdorff", caption, region])
            assert rows[region] == [
                f"{before.mean():.{digits}f}",
                f"{after.mean():.{digits}f}",
                signed(change.mean(), digits),
                f"{signed(low, digits)} to {signed(high, digits)}",
                *(p, corrected, signed(ranks.sum() / max(np.abs(ranks).sum(), 1), 2)),
                "7",
                f"{(better * change > 0).sum()}/{(better * change < 0).sum()}",
            ]


def by_enumeration(ranks):
    """Wilcoxon's p over every choice of signs, as the page writes it."""
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product((1, -1), repeat=len(ranks))])
    p = (np.abs(sums) >= abs(ranks.sum()) - 1e-9).mean()
    return f"{p:.2f}" if p >= 0.1 else f"{p:.3f}"


def signed(value, digits):
    text = f"{value:+.{digits}f}".replace("-", "\u2212")
    return text[1:] if float(text[1:]) == 0 else text


def test_comparison_asks_the_question_and_shows_what_differs(make_run, data_set, scores_of, read_page, tmp_path):
    cases = CASES[:2]
    data = data_set(cases)
    hausdorff = make_run(
        *("hausdorff",),
        cases=cases,
        data=data,
        scores=scores_of(cases, 1),
        settings={"loss": {"boundary": "hausdorff_distance"}},
    )
    base = make_run("base", cases=cases, data=data, scores=scores_of(cases, 2))
    page = read_page(report([hausdorff, base], tmp_path / "out"))  # the base run is the reference wherever it stands
    assert "Does adding the Hausdorff distance term give better boundaries (HD95) and more lesions found?" in page.text
    assert "Differences are hausdorff minus base" in page.text
    assert "Cannot be concluded from 2 cases." in page.text
    settings = next(rows for rows in page.tables.values() if rows[0] == ["Setting", "base", "hausdorff"])
    assert settings[1:] == [["loss.boundary", "none", "hausdorff_distance"]]
    assert sorted(file.name for file in (tmp_path / "out" / "figures").iterdir()) == [
        *("cohort_scores.svg", "dots.svg"),
        *("lesions_A_base.svg", "lesions_A_hausdorff.svg", "lesions_B_base.svg", "lesions_B_hausdorff.svg"),
        *("slices_A.svg", "slices_B.svg", "training.svg"),
    ]
    svg = (tmp_path / "out" / "figures" / "slices_A.svg").read_text()
    assert re.findall(r'font-weight="400"[^>]*>([^<]+)', svg) == ["zoom", "reference", "base", "hausdorff"]


def test_comparison_uses_and_names_only_shared_cases(make_run, scores_of, read_page, tmp_path):
    base, other = scores_of(("A", "B", "C"), 1), scores_of(("B", "C", "D"), 2)
    runs = [
        make_run("one", cases=("A", "B", "C"), scores=base, settings={"seed": 1}),
        make_run("two", cases=("B", "C", "D"), scores=other, settings={"seed": 2, "train": {"steps": 41}}),
    ]
    page = read_page(report(runs, tmp_path / "out"))
    assert "2 of 4 are in all runs" in page.text
    assert "The runs held out different cases" in page.text
    assert "different seeds (one: 1; two: 2)" in page.text
    assert "different numbers of training steps (one: 40; two: 41)" in page.text
    row = page.tables["Whole-volume Dice"][1]
    assert row[1:3] == [f"{np.mean([run[case, 'WT']['dice'] for case in ('B', 'C')]):.3f}" for run in (base, other)]


def test_comparison_without_scores_still_makes_a_page(make_run, scores_of, read_page, tmp_path):
    runs = [make_run("one", scores=scores_of(("A",), 0)), make_run("two")]
    page = read_page(report(runs, tmp_path / "out"))
    assert "two: No scores.csv" in page.text
    assert "nothing to compare" in page.text


def test_three_runs_and_runs_of_one_name(make_run, scores_of, read_page, tmp_path):
    runs = [make_run(f"{folder}/run", scores=scores_of(("A", "B"), seed)) for seed, folder in enumerate("xyz")]
    page = read_page(report(runs, tmp_path / "out"))
    for run in runs[1:]:
        assert f"Does {run} give better boundaries (HD95) and more lesions found than {runs[0]}?" in page.text
    assert "Nothing but names" in page.text


def test_summary_text_has_the_means_in_columns(make_run, scores_of):
    scores = scores_of(("A", "B"), 8)
    lines = summary_text(make_run(cases=("A", "B"), scores=scores)).splitlines()
    assert lines[0] == "base: means over 2 held-out cases, rules brats2023"
    assert len({len(line) for line in lines[1:5]}) == 1
    values = [scores[case, "TC"] for case in ("A", "B")]
    mean = {column: sum(row[column] for row in values) / 2 for column in values[0]}
    assert lines[3].split() == [
        "TC",
        f"{mean['lesion_wise_dice']:.3f}",
        f"{mean['lesion_wise_hd95']:.1f}",
        f"{mean['dice']:.3f}",
        f"{mean['hd95']:.1f}",
        *(str(round(2 * mean[f"lesions_{kind}"])) for kind in ("found", "missed", "false")),
    ]
