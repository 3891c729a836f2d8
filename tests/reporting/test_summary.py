from mets3d.reporting import summary_text


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
