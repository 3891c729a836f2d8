"""Findings on a screen or two."""

from mets3d.data.cases import Finding
from mets3d.data.findings_table import findings_table


def negative(number: int, detail: str = "t1n has 5") -> Finding:
    return Finding(f"case-{number:04d}", "note", "negative values", detail)


def test_few_cases_have_a_row_each_with_all_their_details() -> None:
    findings = [
        negative(2),
        negative(1),
        negative(2, "t2w has 7"),
        Finding("case-0002", "error", "constant image", "t1c"),
    ]
    assert [line.split() for line in findings_table(findings)] == [
        ["case", "severity", "finding", "detail"],
        ["case-0002", "error", "constant", "image", "t1c"],
        ["case-0001", "note", "negative", "values", "t1n", "has", "5"],
        ["case-0002", "note", "negative", "values", "t1n", "has", "5;", "t2w", "has", "7"],
    ]


def test_many_cases_have_a_count_and_three_examples() -> None:
    advice = "read the scanner's manual"
    many = [Finding(f"case-{number:04d}", "warning", "odd", f"detail {number}", advice) for number in range(1296)]
    lines = findings_table([*many, Finding("case-0007", "error", "broken", "file")])
    assert len(lines) == 6  # the heading, the error, the count and three examples
    assert lines[1].startswith("case-0007")
    assert lines[2].split()[:4] == ["1,296", "cases", "warning", "odd"]
    assert "\n".join(lines).count(advice) == 1
    assert [line.split()[0] for line in lines[3:]] == ["case-0000", "case-0001", "case-0002"]
    assert [line.endswith(f"detail {number}") for number, line in enumerate(lines[3:])] == [True] * 3


def test_the_worst_is_first_whatever_the_order() -> None:
    levels = ["note", "error", "warning"]
    findings = [Finding("a", level, level, "") for level in levels]  # type: ignore[arg-type]
    assert [line.split()[1] for line in findings_table(findings)[1:]] == ["error", "warning", "note"]


def test_a_long_name_does_not_push_the_columns_away() -> None:
    lines = findings_table([Finding("n" * 80, "error", "broken", "file"), Finding("short", "error", "torn", "page")])
    assert lines[2].index("error") < 20
