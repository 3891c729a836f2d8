from mets3d.reporting import report

CASES = ("A", "B", "C", "D", "E", "F", "G")


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
