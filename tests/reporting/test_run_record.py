from mets3d.reporting.read_run import read_run


def test_cells_without_a_finite_value_are_left_out(make_run, scores_of):
    scores = scores_of(("A", "B", "C", "D"), 0)
    for case, cell in zip("ABC", ("", "nan", "inf"), strict=True):
        scores[case, "WT"]["hd95"] = cell
    record = read_run(make_run(cases=("A", "B", "C", "D"), scores=scores))
    assert record.values("WT", "hd95") == {"D": scores["D", "WT"]["hd95"]}
    assert set(record.values("TC", "hd95")) == {"A", "B", "C", "D"}
    assert record.values("RC", "hd95") == {}


def test_full_precision_survives(make_run, scores_of):
    scores = scores_of(("A",), 1)
    record = read_run(make_run(cases=("A",), scores=scores))
    assert record.values("ET", "lesion_wise_dice")["A"] == scores["A", "ET"]["lesion_wise_dice"]


def test_held_out_are_the_scored_cases_that_training_has_not_seen(make_run, scores_of):
    record = read_run(make_run("some", scores=scores_of(("T1", "elsewhere", "A"), 0)))
    assert record.held_out == ["A", "elsewhere"]
    only_training = read_run(make_run("none", scores=scores_of(("T1", "T2"), 0)))
    assert only_training.held_out == ["T1", "T2"]
    assert "Every scored case was used in training" in texts(only_training)


def texts(record):
    return " ".join(note.text for note in record.notes)
