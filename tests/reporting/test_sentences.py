from decimal import Decimal

import numpy as np

from mets3d.reporting.sentences import duration, means_beside, number, percent, shortened, size_class_name


def test_numbers_in_words():
    assert number(None, 2) == "–"
    assert number(-0.004, 2) == "0.00"
    assert number(-0.004, 2, sign=True) == "0.00"
    assert number(-1.25, 1, sign=True) == "−1.2"
    assert number(1.25, 3, sign=True) == "+1.250"
    assert [duration(seconds) for seconds in (0.2, 59, 61, 7261, 90_000)] == [
        *("0 s", "59 s", "1 min 1 s", "2 h 1 min", "1 d 1 h"),
    ]


def test_long_names_keep_both_ends():
    assert shortened("seed_1", 6) == "seed_1"
    assert [shortened("decoder_hausdorff_seed_1", most) for most in (10, 11)] == ["decod…ed_1", "decod…eed_1"]


def test_shares_in_words():
    assert [percent(share) for share in (None, 0, 0.666, 1)] == ["–", "0 %", "67 %", "100 %"]


def test_size_classes_in_words():
    names = ("below_2", "2_to_27", "27_to_100", "from_275")
    assert [size_class_name(name) for name in names] == ["< 2", "2 to < 27", "27 to < 100", "≥ 275"]
    assert [size_class_name(name, "–") for name in names] == ["< 2", "2–27", "27–100", "≥ 275"]


def test_means_beside_a_difference_have_it_when_a_reader_subtracts_them():
    assert means_beside(0.5078, 0.9004, 0.3926, 3) == ("0.5078", "0.9004")  # 0.508 and 0.900 would give 0.392
    assert means_beside(0.5, 0.75, 0.25, 3) == ("0.500", "0.750")
    rng = np.random.default_rng(0)
    for before, after in rng.random((500, 2)):
        shown = means_beside(before, after, after - before, 3)
        low, high = map(Decimal, shown)
        assert abs(high - low - Decimal(f"{after - before:.3f}")) <= Decimal("0.0005")
        assert list(shown) == [f"{mean:.{len(text) - 2}f}" for mean, text in zip((before, after), shown, strict=True)]
