"""The combinations of a sweep: a grid's order by hand, draws that a restart repeats."""

from __future__ import annotations

import statistics
from typing import Any

from mets3d.study.combinations import as_arguments, drawn, grid
from mets3d.study.parameters import Parameter, read_parameters


def parameters(**tree: Any) -> list[Parameter]:
    faults: list[str] = []
    found = read_parameters(tree, faults)
    assert not faults
    return found


def test_a_grid_is_sorted_by_name_and_its_last_name_changes_fastest() -> None:
    found = grid(parameters(b={"values": [2, 1]}, a={"values": ["x", "y"]}, c={"value": 0}))
    assert list(found) == [
        {"a": "x", "b": 2, "c": 0},
        {"a": "x", "b": 1, "c": 0},
        {"a": "y", "b": 2, "c": 0},
        {"a": "y", "b": 1, "c": 0},
    ]


def test_equal_values_are_one_combination_as_are_1_and_1_point_0() -> None:
    values = [1, 1.0, 2, 1, "1", [1.0], [1], {"x": 1, "y": 2}, {"y": 2, "x": 1}]
    found = [values["a"] for values in grid(parameters(a={"values": values}))]
    assert found == [1, 2, "1", [1.0], [1], {"x": 1, "y": 2}]


def test_true_is_not_the_number_1() -> None:
    assert [values["a"] for values in grid(parameters(a={"values": [1, True, 0, False]}))] == [1, True, 0, False]


def test_nested_parameters_are_passed_as_one_dict() -> None:
    found = parameters(
        loss={"parameters": {"boundary": {"value": "blob"}, "deep": {"parameters": {"x": {"value": 1}}}}}
    )
    [values] = grid(found)
    assert values == {"loss.boundary": "blob", "loss.deep.x": 1}
    assert as_arguments(found, values) == {"loss": {"boundary": "blob", "deep": {"x": 1}}}


def test_draws_depend_on_number_and_name_alone() -> None:
    some = parameters(a={"min": 0.0, "max": 1.0})
    more = parameters(a={"min": 0.0, "max": 1.0}, b={"min": 0.0, "max": 1.0})
    assert [drawn(some, number)["a"] for number in range(9)] == [drawn(more, number)["a"] for number in range(9)]
    values = [drawn(more, number) for number in range(400)]
    assert len({row["a"] for row in values}) == 400
    assert abs(statistics.mean(row["a"] for row in values) - 0.5) < 0.05
    assert abs(statistics.correlation([row["a"] for row in values], [row["b"] for row in values])) < 0.15
