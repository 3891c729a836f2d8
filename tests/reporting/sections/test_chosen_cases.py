from mets3d.reporting.sections.chosen_cases import chosen_cases


def test_chosen_cases_are_the_best_the_middle_and_the_worst():
    dice = {f"c{rank:02d}": 1 - rank / 20 for rank in range(11)}
    assert chosen_cases(dice, list(dice)) == [
        *(("c00", "best"), ("c01", "rank 2 of 11"), ("c05", "rank 6 of 11, median"), ("c06", "rank 7 of 11")),
        *(("c09", "rank 10 of 11"), ("c10", "worst")),
    ]
    assert chosen_cases({"b": 0.2, "a": 0.1}, ["a", "b", "unscored"]) == [
        *(("b", "best"), ("a", "rank 2 of 3, median"), ("unscored", "")),
    ]
    assert chosen_cases({}, list("hgfedcba")) == [(name, "") for name in "abcdef"]
    assert chosen_cases({"a": 0.5}, ["a"]) == [("a", "")]
    assert len(chosen_cases(dice, list(dice), most=3)) == 3
