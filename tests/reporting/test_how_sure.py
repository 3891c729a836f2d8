from dataclasses import replace

from mets3d.reporting.how_sure import how_sure
from mets3d.reporting.read_run import read_runs
from mets3d.statistics.answer import answer, contradicted
from mets3d.statistics.family import with_tests
from tests.statistics.test_answer import DICE, HD95, NO_TREND, candidate, up

MOSTLY_UP = [*up(0.1)[:7], -0.01]  # p 0.016 and an interval above 0, of eight patients


def test_why_an_interval_without_0_shows_nothing(make_run):
    base, term = read_runs([make_run("base"), make_run("term")])
    changes = [
        candidate(DICE, region, [own * (place + 1) for own in MOSTLY_UP]) for place, region in enumerate("ABCDEFG")
    ]
    changes += [candidate(HD95, "A", [-own for own in MOSTLY_UP]), candidate(HD95, "B", NO_TREND)]
    tests = with_tests(changes)
    found = answer("term", tests)
    assert found.conclusion == "no difference shown"
    seeming = contradicted(found.own)
    assert {(test.score, test.region) for test in seeming} == {*((DICE, region) for region in "ABCDEFG"), (HD95, "A")}
    said = how_sure(found, base, term)
    assert (
        "The uncorrected intervals of lesion-wise Dice in A, B, C, D, E, F and G and lesion-wise HD95 in A leave 0 out"
        in said
    )
    assert (
        "with 9 tests one may do so by chance alone and intervals from 8 patients are too narrow, so the corrected"
        in said
    )
    many = replace(seeming[0], p_holm=0.2, found=replace(seeming[0].found, patients=40))
    said = how_sure(replace(found, own=(many,), quoted=many, family=1), base, term)
    assert "The uncorrected interval of lesion-wise Dice in A leaves 0 out and yet show" in said
    assert "the test weighs ranks and not means, so" in said
    assert "reaches from" not in said  # it reaches to one side alone
    low = replace(many, p_holm=0.01)
    assert "uncorrected" not in how_sure(replace(found, own=(low,), better=(low,), quoted=low), base, term)
