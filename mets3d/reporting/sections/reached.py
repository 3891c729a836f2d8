"""Says in one sentence what a run reaches, and how it stands to the best threshold: plain text, not yet escaped."""

from __future__ import annotations

from mets3d.reporting.answers import Told, near_zero, on_cases
from mets3d.reporting.chosen_weights import chosen_on_scored
from mets3d.reporting.html_table import spanned
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sections.threshold import threshold_comparison, threshold_region
from mets3d.reporting.sentences import amount, number, percent
from mets3d.statistics.answer import HARDLY_ANYTHING, QUOTED_SCORE, quoted_region
from mets3d.statistics.cohort import Summary, cohort_table, summarise
from mets3d.statistics.family import PRIMARY
from mets3d.statistics.intervals import FEWEST_PATIENTS, patient_numbers
from mets3d.statistics.lesion_counts import lesion_counts
from mets3d.wording import agreed, counted, joined


def told_of_run(record: RunRecord) -> Told | None:
    """Says what a run reaches on its held-out cases, and how it stands to the best threshold; None without scores."""
    names = [region.name for region in record.regions]
    dice = {name: summarise(record.values(name, PRIMARY[0]), record.patients) for name in names}
    known = {name: found for name, found in dice.items() if found is not None}
    if not known:
        return None
    patients = patient_numbers(record.held_out, record.patients)[1]
    quoted = quoted_region(list(known))
    # Of those with a value: a region that few patients have allows no conclusion, however many were held out.
    valued = patient_numbers(list(record.values(quoted, PRIMARY[0])), record.patients)[1]
    word = f"Lesion-wise Dice {number(known[quoted].mean, 3)} in {quoted}"
    said = f"The mean lesion-wise Dice in {quoted} is {_with_interval(known[quoted])}, "
    said += f"on {on_cases(record.held_out, patients, record, scored=known[quoted].n)}"
    if others := [f"{number(found.mean, 3)} in {name}" for name, found in known.items() if name != quoted]:
        said += f"; it is {joined(others)}"
    for text in (_recall(record, quoted), _boundaries(record, quoted)):
        said += f". {text}" if text else ""
    lines = [("Best threshold", text)] if (text := _threshold(record)) else []
    low = [name for name, found in known.items() if found.mean < HARDLY_ANYTHING]
    return Told(
        "unclear" if valued < FEWEST_PATIENTS else "reached",
        word,
        f"{said}.",
        " ".join(filter(None, [_how_sure_alone(record, valued), chosen_on_scored([record])])),
        lines,
        level=near_zero(low, record.regions),
    )


def _with_interval(found: Summary) -> str:
    interval = f" (95 % interval {spanned(found.interval, 3)})" if found.interval else ""
    return number(found.mean, 3) + interval


def _recall(record: RunRecord, region: str) -> str:
    rows = cohort_table(record.score_rows(region), record.lesion_rows(region))
    own = next((row for row in rows if row["score"] == "pooled_recall" and row["mean"] is not None), None)
    if own is None:
        return ""
    bounds = "" if own["ci_low"] is None else f" (95 % interval {percent(own['ci_low'])} to {percent(own['ci_high'])})"
    false = lesion_counts(record.score_rows(region)).false or 0
    return (
        f"{percent(own['mean'])} of the lesions in {region} are found{bounds}, with {amount(false)} "
        f"false {agreed(false, 'lesion', 'lesions')}"
    )


def _boundaries(record: RunRecord, region: str) -> str:
    found = summarise(record.values(region, QUOTED_SCORE), record.patients)
    if found is None:
        return ""
    bounds = f" (95 % interval {spanned(found.interval, 1)} mm)" if found.interval else ""
    return f"The mean lesion-wise HD95 in {region} is {number(found.mean, 1)} mm{bounds}, penalties for errors included"


def _threshold(record: RunRecord) -> str:
    """Says how the run stands to the threshold; the numbers are in its tile (`tiles.tiles_of_run`)."""
    found = threshold_comparison(record)
    if found is None:
        return ""
    interval = found.interval
    if interval is None:
        word = "too few patients to conclude"
    elif interval[0] <= 0 <= interval[1]:
        word = "no difference shown"
    else:
        word = "the network is better" if interval[0] > 0 else "the network is worse"
    return f"{word}, by whole-volume {threshold_region(record)} Dice on the same {counted(found.n, 'case')}"


def _how_sure_alone(record: RunRecord, patients: int) -> str:
    if patients < FEWEST_PATIENTS:
        return f"There are no intervals below {FEWEST_PATIENTS} patients: the numbers describe these cases only."
    if record.runs:
        return "The intervals cover the choice of patients; the chance in training shows in the spread over seeds."
    return "The intervals cover the choice of patients, not the chance in training: this is one training."
