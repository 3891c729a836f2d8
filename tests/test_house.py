"""The size of rooms: files that are read in one go, functions on one screen, no long lists of parameters."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

from tests.builders.runs import ROOT

Function = ast.FunctionDef | ast.AsyncFunctionDef

FILES = sorted((ROOT / "mets3d").rglob("*.py"))
# Constructors of networks name every dimension, losses every choice of their formula.
MAY_TAKE_MANY = {"losses", "models"}


def functions(file: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield node


def lines_of(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def parameters_of(function: Function) -> int:
    own = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([parameter for parameter in own if parameter.arg not in ("self", "cls")])


def is_kernel(function: Function) -> bool:
    """Whether it is a Triton kernel, which gets every pointer, stride and size by itself."""
    return any(isinstance(decorator, ast.Name) and decorator.id == "kernel" for decorator in function.decorator_list)


def line_count(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def test_files_are_short() -> None:
    lengths = {str(file.relative_to(ROOT)): line_count(file) for file in FILES}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
    assert statistics.median(lengths.values()) <= 140


def test_functions_fit_on_a_screen() -> None:
    lengths = {
        f"{file.relative_to(ROOT)}:{function.lineno} {function.name}": lines_of(function)
        for file in FILES
        for function in functions(file)
    }
    long = {name: n for name, n in lengths.items() if n > 60 and not name.endswith("__init__")}
    assert long == {}
    assert statistics.quantiles(lengths.values(), n=10)[-1] <= 25


def test_functions_take_at_most_eight_parameters() -> None:
    many = {
        f"{file.relative_to(ROOT)}:{function.lineno} {function.name}": parameters_of(function)
        for file in FILES
        if not MAY_TAKE_MANY & set(file.parts)
        for function in functions(file)
        if parameters_of(function) > 8 and function.name != "__init__" and not is_kernel(function)
    }
    assert many == {}
