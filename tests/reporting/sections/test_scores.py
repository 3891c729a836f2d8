import numpy as np

from mets3d.reporting import report
from tests.reporting.conftest import scores_shown

CASES = ("A", "B", "C", "D", "E", "F", "G")


def test_region_table_values(make_run, scores_of, read_page, tmp_path, empty_curves):
    scores = scores_of(CASES, 3)
    scores["B", "TC"]["lesion_wise_hd95"] = ""  # no value
    page = read_page(report([make_run(cases=CASES, scores=scores)], tmp_path / "out"))
    shown = scores_shown(page)
    for caption, column, digits in (
        ("Lesion-wise Dice", "lesion_wise_dice", 3),
        ("Lesion-wise HD95", "lesion_wise_hd95", 1),
        ("Whole-volume Dice", "dice", 3),
        ("Whole-volume HD95", "hd95", 1),
    ):
        unit = " [mm]" if column.endswith("hd95") else ""
        for at_column, region in enumerate(("WT", "TC", "ET")):
            values = sorted(scores[case, region][column] for case in CASES if scores[case, region][column] != "")
            n, mean = len(values), sum(values) / len(values)
            sd = (sum((value - mean) ** 2 for value in values) / (n - 1)) ** 0.5
            by_case = [scores[case, region][column] for case in CASES if scores[case, region][column] != ""]
            drawn = np.random.default_rng(0).integers(n, size=(10_000, n))
            low, high = np.quantile(np.array(by_case)[drawn].mean(1), [0.025, 0.975])
            median, first, third = (f"{at(values, share):.{digits}f}" for share in (0.5, 0.25, 0.75))
            fewer = f" n = {n}" if n < len(CASES) else ""
            statistics = ("mean ± SD", "95 % interval", "median [quartiles]")
            assert [shown[caption + unit, name][at_column] for name in statistics] == [
                f"{mean:.{digits}f} ± {sd:.{digits}f}{fewer}",
                f"{low:.{digits}f} to {high:.{digits}f}",
                f"{median} [{first} to {third}]",
            ]


def at(ordered, share):
    """Quantile by hand: linear between the neighbours of position share x (n - 1)."""
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])
