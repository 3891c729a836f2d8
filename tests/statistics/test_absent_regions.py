from mets3d.statistics.absent_regions import absent_regions


def row(region, found=0, missed=0, false=0, **more):
    return {"region": region, "lesions_found": found, "lesions_missed": missed, "lesions_false": false, **more}


def test_a_region_is_absent_where_no_case_has_anything_of_it():
    rows = [row("WT", found=1), row("TC"), row("ET", false=1), row("RC"), row("WT"), row("TC", missed=1), row("RC")]
    assert absent_regions(rows) == {"RC"}
    assert absent_regions([]) == set()


def test_a_lesion_too_small_to_count_is_there():
    assert absent_regions([row("RC", reference_volume_mm3=0.0, prediction_volume_mm3=0.0)]) == {"RC"}
    assert absent_regions([row("RC", reference_volume_mm3=1.5)]) == set()
    assert absent_regions([row("RC", prediction_volume_mm3=1.5)]) == set()


def test_rows_without_counts_say_nothing():
    assert absent_regions([{"region": "RC", "dice": 1.0}]) == set()
    assert absent_regions([row("RC"), {"region": "RC", "lesions_found": 0}]) == set()
