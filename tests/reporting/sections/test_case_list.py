from mets3d.reporting import report
from tests.reporting.conftest import scores_shown

CASES = ("A", "B", "C", "D", "E", "F", "G")


def test_lesion_counts_and_cases(make_run, scores_of, read_page, tmp_path, empty_curves):
    scores = scores_of(CASES, 4)
    page = read_page(report([make_run(cases=CASES, scores=scores)], tmp_path / "out"))
    shown = scores_shown(page)
    for at, region in enumerate(("WT", "TC", "ET")):
        found, missed, false = (
            sum(scores[case, region][f"lesions_{kind}"] for case in CASES) for kind in ("found", "missed", "false")
        )
        share = f"{round(100 * found / (found + missed))} %"
        assert shown["Lesions", "found"][at] == f"{found} of {found + missed} ({share})"
        assert [shown["Lesions", kind][at] for kind in ("missed", "false")] == [str(missed), str(false)]
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
