import csv
import itertools

import numpy as np
from scipy import stats

from mets3d.__main__ import main
from mets3d.reporting import report
from mets3d.reporting.compare import compared
from mets3d.reporting.read_run import read_runs
from mets3d.statistics.against_reference import compared_scores
from mets3d.statistics.comparison_tables import p_text
from tests.reporting.conftest import cells_of

CASES = ("A", "B", "C", "D", "E", "F", "G")


def test_comparison_tables_against_numpy(make_run, scores_of, read_page, tmp_path):
    base, other = scores_of(CASES, 10), scores_of(CASES, 11)
    runs = [
        make_run("base", cases=CASES, scores=base),
        make_run("hausdorff", cases=CASES, scores=other, settings={"loss": {"boundary": "hausdorff_distance"}}),
    ]
    page = read_page(report(runs, tmp_path / "out"))
    family = {
        (test.method, test.score.name, test.region): test.p_holm
        for test in compared(read_runs(runs), CASES).differences
    }
    table = page.tables["hausdorff against base"]
    assert table[0] == [
        *("Score", "Region", "base", "hausdorff", "Difference", "95 % interval", "p", "p (Holm)", "Effect", "n"),
        "Better/worse",
    ]
    rng = np.random.default_rng(0)
    drawn = rng.integers(7, size=(10_000, 7))
    for caption, column, digits, better in (
        ("Lesion-wise Dice", "lesion_wise_dice", 3, 1),
        ("Lesion-wise HD95", "lesion_wise_hd95", 2, -1),
        ("Lesions found", "lesions_found", 2, 1),
        ("False lesions", "lesions_false", 2, -1),
    ):
        for region in ("WT", "TC", "ET"):
            before, after = (np.array([run[case, region][column] for case in CASES], float) for run in (base, other))
            change = after - before
            low, high = np.quantile(change[drawn].mean(1), [0.025, 0.975])
            ranks = stats.rankdata(np.abs(change[change != 0])) * np.sign(better * change[change != 0])
            cells = cells_of(table, caption, region)
            p, corrected = cells[4:6]
            tested = family["hausdorff", caption, region] is not None
            assert tested == (caption != "False lesions")
            assert p == (by_enumeration(ranks) if tested else "–")
            assert corrected == p_text(family["hausdorff", caption, region])
            assert cells == [
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


def test_page_console_and_csv_hold_the_same_p(make_run, scores_of, read_page, tmp_path, capsys):
    base, other = scores_of(CASES, 10), scores_of(CASES, 12)
    for scores in (base, other):  # ET is TC in every case, and no lesion is found that the other misses
        for case in CASES:
            scores[case, "ET"] = scores[case, "TC"]
            for region in ("WT", "TC", "ET"):
                scores[case, region]["lesions_found"] = 2
    term = {"loss": {"boundary": "blob"}}
    # The page compares with the run without a boundary term, so compare of the runs does, in whatever order.
    runs = [make_run("term", cases=CASES, scores=other, settings=term), make_run("base", cases=CASES, scores=base)]
    page = read_page(report(runs, tmp_path / "out"))
    assert main(["compare", *map(str, runs), "--out", str(tmp_path / "comparison.csv")]) == 0
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    with (tmp_path / "comparison.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["family"] != "ranks"]
    assert {(row["reference"], row["method"]) for row in rows} == {("base", "term")}
    assert {(row["region"], row["score"]) for row in rows if row["p"]} == {
        (region, column) for region in ("WT", "TC") for column in ("lesion_wise_dice", "lesion_wise_hd95")
    }
    for row in rows:
        on_page = cells_of(page.tables["term against base"], score_named(row["score"]).name, row["region"])
        (line,) = [words for words in printed if words[:2] == [row["region"], row["score"]]]
        in_csv = [p_text(float(p)) if p else "–" for p in (row["p"], row["p_holm"])]
        assert on_page[4:6] == in_csv
        assert all(p.replace("–", "-") in " ".join(line) for p in in_csv)
    assert "4 tests, over which Holm's correction is" in page.text
    # Nothing is shown, so the answer gives what was declared before: HD95 of ET, whose test is the one of TC; so of WT.
    quoted = next(row for row in rows if (row["region"], row["score"]) == ("WT", "lesion_wise_hd95"))
    assert f"changes by {signed(float(quoted['difference']), 2)} mm (95 % interval" in page.text
    assert f"p {p_text(float(quoted['p_holm']))} after Holm over 4 tests" in page.text


def score_named(column):
    return next(score for score in compared_scores() if score.column == column)
