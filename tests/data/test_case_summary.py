"""Summaries: their numbers, and the way through JSON."""

import json
import pickle

import numpy as np
import pytest

from mets3d.data.case_summary import CaseSummary, label_counts, mean_and_std, scan_facts, shared_faces
from tests.builders.summaries import summary


def test_json_gives_back_the_same() -> None:
    for one in (summary(1, label_map={4: 3}), CaseSummary("a", "b", False, {}, ("t1c",))):
        assert CaseSummary.from_json(json.loads(json.dumps(one.as_json()))) == one
        assert pickle.loads(pickle.dumps(one)) == one


def test_a_summary_is_small() -> None:
    assert len(pickle.dumps(summary(1))) < 2000


def test_counts_and_faces() -> None:
    labels = np.zeros((4, 4, 4), dtype=np.uint8)
    labels[0, 1:3, 1] = 2  # at the border, whose outer side is no face
    labels[1, 1, 1] = 3
    assert label_counts(labels) == {2: 2, 3: 1}
    # label 3 has 6 faces, one of them to label 2; label 2 has 10 to others, two at the border, one to label 3
    assert shared_faces(labels) == {"0 2": 7, "0 3": 5, "2 3": 1}
    assert shared_faces(np.zeros((3, 3, 3), dtype=np.uint8)) == {}
    assert label_counts(np.zeros((3, 3, 3), dtype=np.uint8)) == {}


def test_facts_of_a_scan() -> None:
    inside = np.random.default_rng(0).normal(500, 100, 700_000).astype(np.float32)
    at = np.array([3, 5, 11])
    facts = scan_facts(inside, 0.0, at, np.array([3, 3, 1], dtype=np.uint8))
    wide = inside.astype(np.float64)
    assert (facts.mean, facts.std) == pytest.approx((wide.mean(), wide.std()), rel=1e-9)
    expected = {3: (wide[[3, 5]].mean() - wide.mean()) / wide.std(), 1: (wide[11] - wide.mean()) / wide.std()}
    assert facts.levels == pytest.approx(expected, rel=1e-6)


def test_the_digest_is_of_what_is_not_background() -> None:
    nothing = np.array([], dtype=np.int64), np.array([], dtype=np.uint8)
    values = np.arange(1, 9, dtype=np.float32)
    padded = np.concatenate([values[:3], [0.0], values[3:]]).astype(np.float32)
    digests = [scan_facts(one, 0.0, *nothing).digest for one in (values, padded, values + 1)]
    assert digests[0] == digests[1] != digests[2]


def test_mean_and_std_of_a_large_offset() -> None:
    values = np.array([1e7, 1e7 + 1, 1e7 + 2], dtype=np.float32)
    assert mean_and_std(values) == pytest.approx((1e7 + 1, np.sqrt(2 / 3)))
