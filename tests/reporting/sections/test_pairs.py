import itertools

import numpy as np
from scipy import stats

from mets3d.reporting import report
from mets3d.reporting.compare import compared
from mets3d.reporting.read_run import read_runs
from mets3d.statistics.comparison_tables import p_text

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
