from mets3d.reporting import report, summary_text


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
    page = read_page(report([run], tmp_path / "out")).text  # a line in the answer, the numbers in one tile
    assert f"network {network:.3f}, threshold 0.400" in page
    assert page.count("0.400") == 1
    assert expected in summary_text(run)
