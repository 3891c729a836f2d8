"""Parameters of a sweep file: kinds, grids and quantiles against scipy's distributions, and every fault."""

from __future__ import annotations

import math
from typing import Any

import pytest
from scipy import stats

from mets3d.study.parameters import Parameter, read_parameters


def one(content: Any) -> Parameter:
    faults: list[str] = []
    [parameter] = read_parameters({"a": content}, faults)
    assert faults == []
    return parameter


def faults(content: Any) -> list[str]:
    found: list[str] = []
    read_parameters({"optim.lr": content}, found)
    return found


def test_the_kind_follows_from_the_keys_where_none_is_named() -> None:
    assert one({"value": 3}).kind == "constant"
    assert one({"values": [3]}).kind == "categorical"
    assert one({"values": [3, 4], "probabilities": [0.2, 0.8]}).kind == "categorical_w_probabilities"
    assert one({"min": 1, "max": 3}).kind == "int_uniform"
    assert one({"min": 1, "max": 3.0}).kind == "uniform"
    assert one({"min": 1, "max": 3, "distribution": "uniform"}).kind == "uniform"


def test_nested_parameters_have_a_path_and_all_are_sorted_by_name() -> None:
    tree = {"b": {"value": 1}, "a": {"parameters": {"y": {"value": 2}, "x": {"value": 3}}}, "a.z": {"value": 4}}
    found: list[str] = []
    assert [parameter.path for parameter in read_parameters(tree, found)] == [("a", "x"), ("a", "y"), ("a.z",), ("b",)]
    assert found == []


def test_a_grid_has_whole_numbers_with_both_ends_and_steps_without_the_upper_one() -> None:
    assert one({"min": -1, "max": 2}).grid() == [-1, 0, 1, 2]
    assert one({"min": 0.0, "max": 1.0, "q": 0.25, "distribution": "q_uniform"}).grid() == [0, 0.25, 0.5, 0.75]
    assert one({"values": [None, "x", [1, 2]]}).grid() == [None, "x", [1, 2]]


LOG = math.log
QUANTILES = [
    ({"min": 2, "max": 5.5}, stats.uniform(2, 3.5).ppf),
    ({"min": 2, "max": 6}, stats.randint(2, 7).ppf),
    ({"min": -3, "max": 1, "distribution": "log_uniform"}, lambda p: math.exp(-3 + 4 * p)),
    ({"min": 1e-4, "max": 1e-1, "distribution": "log_uniform_values"}, stats.loguniform(1e-4, 1e-1).ppf),
    # 1/x is log-uniform between the inverse bounds, and falls as x rises.
    (
        {"min": 0.2, "max": 5.0, "distribution": "inv_log_uniform_values"},
        lambda p: 1 / stats.loguniform(1 / 5, 1 / 0.2).ppf(1 - p),
    ),
    ({"distribution": "normal", "mu": 2, "sigma": 3}, stats.norm(2, 3).ppf),
    ({"distribution": "log_normal", "mu": 0.5}, stats.lognorm(1, scale=math.exp(0.5)).ppf),
    ({"distribution": "beta", "a": 2, "b": 3}, stats.beta(2, 3).ppf),
    ({"distribution": "q_normal", "sigma": 4, "q": 2}, lambda p: 2 * round(stats.norm(0, 4).ppf(p) / 2)),
    ({"min": 0, "max": 9, "distribution": "q_uniform"}, lambda p: round(9 * p)),
    (
        {"min": 1, "max": 50, "q": 5, "distribution": "q_log_uniform_values"},
        lambda p: 5 * round(stats.loguniform(1, 50).ppf(p) / 5),
    ),
]


@pytest.mark.parametrize(("content", "quantile"), QUANTILES)
def test_a_value_is_that_of_the_inverse_distribution_function(content: Any, quantile: Any) -> None:
    for share in (0.013, 0.21, 0.43, 0.77, 0.991):
        assert one(content).at(share) == pytest.approx(quantile(share), rel=1e-9)


def test_steps_that_are_whole_give_whole_numbers() -> None:
    assert type(one({"min": 0, "max": 9, "q": 2, "distribution": "q_uniform"}).at(0.4)) is int
    assert type(one({"min": 0, "max": 9, "distribution": "q_uniform"}).at(0.4)) is float
    assert type(one({"min": 0, "max": 9}).at(0.4)) is int


def test_choices_are_drawn_by_their_probabilities() -> None:
    parameter = one({"values": ["a", "b", "c"], "probabilities": [0.1, 0.2, 0.7]})
    assert [parameter.at(share) for share in (0.05, 0.15, 0.29, 0.31, 0.99)] == ["a", "b", "b", "c", "c"]
    alike = one({"values": ["a", "b", "c", "d"]})
    assert [alike.at(share) for share in (0.01, 0.26, 0.74, 0.99)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (3, "optim.lr: expected value:, values:, or min: and max: below it, found 3"),
        ({}, "expected value, values, or min and max, found nothing"),
        ({"min": 1}, "expected value, values, or min and max, found min"),
        ({"values": []}, "values: expected a list with at least one value"),
        ({"values": "abc"}, "values: expected a list"),
        ({"value": 1, "values": [1]}, "unknown key 'value' beside values"),
        ({"min": 2, "max": 1}, "min is 2 and max 1; expected min to be the smaller one"),
        ({"min": "1e-4", "max": 1.0}, "min: expected a number, found '1e-4'; write 1.0e-4"),
        ({"min": True, "max": 2}, "min: expected a number, found True"),
        ({"min": 1.0, "max": math.inf}, "max: expected a number, found inf"),
        ({"min": 0.0, "max": 1.0, "distribution": "log_uniform_values"}, "min is 0.0; expected a number above 0"),
        (
            {"min": 0.0, "max": 1.0, "distribution": "loguniform"},
            "unknown distribution 'loguniform'; did you mean log_un",
        ),
        ({"distribution": "normal", "sigma": -1}, "sigma is -1; expected a number above 0"),
        ({"distribution": "q_normal", "q": 0}, "q is 0; expected a number above 0"),
        ({"min": 1, "max": 2.5, "distribution": "int_uniform"}, "int_uniform: expected whole numbers, found 1 and 2.5"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "probabilities: expected 2 numbers from 0 with the sum 1"),
        ({"values": [1, 2], "probabilities": [1.0]}, "probabilities: expected 2 numbers"),
        ({"parameters": {"x": 1}}, "optim.lr.x: expected value:, values:"),
        ({"parameters": []}, "parameters.optim.lr: expected a mapping"),
    ],
)
def test_a_fault_is_one_clear_line(content: Any, said: str) -> None:
    [line] = faults(content)
    assert said in line
