"""Says how the cases of a prediction are decoded, and what a reader of their scores has to know about a tuning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mets3d.inference.decoding_plan import ON_THIS_CASE, DecodingPlan
from mets3d.regions import Target
from mets3d.rundir import DEFAULT_DECODING
from mets3d.wording import counted

WITHOUT = "`--decoding default` predicts without it"


def plan_in_words(plan: DecodingPlan, file: Path | None, target: Target, how: Mapping[str, int]) -> str:
    """Returns one line: how cases are decoded, and how to predict without a file. how: number of cases by how."""
    if file is None:
        threshold = plan.new[target.regions[0].name].threshold
        return DEFAULT_DECODING + (f", threshold {threshold:g}" if target.kind == "regions" else "")
    if not plan.tuned:
        return f"{file}, settings that were not tuned; {WITHOUT}"
    rules = f" by {plan.rules}" if plan.rules else ""
    cases = ", ".join(f"{counted(count, 'case')} {words}" for words, count in how.items())
    return f"{file}, tuned{rules} ({cases or 'no case'}); {WITHOUT}"


def plan_remarks(plan: DecodingPlan, file: Path | None, how: Mapping[str, int], rules: str) -> list[str]:
    """Returns what a reader of scores of these label maps has to know. rules: the rule set of the run."""
    remarks = []
    if plan.forced:
        regions = ", ".join(plan.forced)
        remarks.append(f"{file} was written by --force: cross-validation does not support its settings of {regions}")
    seen = sum(count for words, count in how.items() if words.endswith(ON_THIS_CASE))
    if seen:
        remarks.append(
            f"{file} has no settings that were chosen without the patient of {counted(seen, 'case')}, so that their "
            "scores would be optimistic; run `mets3d tune` again, or take --decoding default"
        )
    if plan.rules not in ("", rules):
        remarks.append(
            f"{file} was tuned by {plan.rules}, and the rule set of the run (validate.rules), by which `mets3d "
            f"evaluate` scores, is {rules}; run `mets3d tune` without --rules"
        )
    return remarks
