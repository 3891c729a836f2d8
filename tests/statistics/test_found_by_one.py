from mets3d.statistics.found_by_one import found_by_one
from mets3d.statistics.pooled_runs import RUN


def row(lesion, kind, volume=10.0, case="A", region="ET", **more):
    return {"case": case, "region": region, "lesion": lesion, "kind": kind, "reference_volume_mm3": volume, **more}


def test_lesions_that_one_found_largest_first():
    reference = [row("1", "found"), row("2", "missed", 30.0), row("3", "found", 99.0), row("4", "ignored", 500.0)]
    method = [row("1", "missed"), row("2", "found", 30.0), row("3", "found", 99.0), row("4", "found", 500.0)]
    found = found_by_one([*reference, row("9", "found", 7.0)], [*method, row("1", "false", None, case="B")])
    assert [(own.lesion, own.volume_mm3, own.by_method) for own in found] == [("2", 30.0, True), ("1", 10.0, False)]
    assert found_by_one(method, reference)[0].by_method is False


def test_the_same_number_in_another_case_or_region_is_another_lesion():
    reference = [row("1", "found"), row("1", "missed", case="B"), row("1", "missed", region="TC")]
    method = [row("1", "found"), row("1", "found", case="B"), row("1", "missed", region="TC")]
    assert [(own.case, own.region) for own in found_by_one(reference, method)] == [("B", "ET")]


def test_of_several_runs_most_decide():
    def runs(*kinds):
        return [row("1", kind, **{RUN: (seed, 0)}) for seed, kind in enumerate(kinds)]

    (own,) = found_by_one(runs("found", "found", "missed"), runs("missed", "missed", "found"))
    assert ((own.reference.found, own.reference.runs), (own.method.found, own.method.runs)) == ((2, 3), (1, 3))
    assert found_by_one(runs("found", "missed"), runs("missed", "missed")) == []  # half of the runs is neither
    assert found_by_one(runs("found", "found"), runs("found", "missed")) == []
    assert len(found_by_one(runs("found", "found"), runs("missed"))) == 1
