"""Scores predictions against references: `mets3d evaluate`."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from mets3d.console import progress_of
from mets3d.verbs.configuration import configuration
from mets3d.verbs.parser import VerbParser, output_path
from mets3d.wording import counted

SUMMARY = "lesion-wise and whole-volume scores of predictions against references"
ORDER = 70


def arguments(parser: VerbParser) -> None:
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS", help="CASE.nii.gz files, a data set, or a run")
    parser.add_argument("references", type=Path, metavar="REFERENCES", help="CASE.nii.gz files, or a data set")
    parser.add_argument(
        "--out",
        type=output_path,
        metavar="scores.csv",
        help="one row per case and region (default RUN/scores.csv of a run, else PREDICTIONS/scores.csv)",
    )
    parser.add_argument("--rules",
                        help="brats2023, brats2024 or brats2026 (default the run's, else brats2023)")  # fmt: skip
    parser.add_argument("--compat", choices=["organisers"],
                        help="brats2026: swap the first and last voxel size, as that program does")  # fmt: skip
    parser.add_argument("--size-edges", type=float, nargs="+", default=[2, 27, 100, 275], metavar="MM3",
                        help="between size classes")  # fmt: skip
    parser.add_argument("--probabilities", type=Path, metavar="DIR",
                        help="maps for froc.csv (default PREDICTIONS/probabilities, if there)")  # fmt: skip
    parser.takes_data_settings()
    parser.takes_jobs()


def run(options: argparse.Namespace) -> int:
    from mets3d.evaluation.case import Scoring
    from mets3d.evaluation.evaluate import Tables, evaluate
    from mets3d.evaluation.rules import RULE_SETS, rules_named
    from mets3d.files import write_text
    from mets3d.rundir import PredictionsDir, RunDir, mapped_cases
    from mets3d.statistics.cohort import cohort_csv, cohort_table, cohort_text
    from mets3d.statistics.decodings import decoding_in_words, decoding_remarks

    predictions = _predictions(options.predictions)
    options.out = options.out or _default_out(predictions)
    rules, whose = (options.rules, "--rules") if options.rules else _rules_of(predictions)
    beside = RunDir(options.out.parent)  # the other tables lie beside the scores, named as in a run
    _check_paths(options, [beside.lesions, beside.froc, beside.cohort])
    if options.compat and not rules_named(rules).organisers_swap_spacing:
        some = " or ".join(known.name for known in RULE_SETS if known.organisers_swap_spacing)
        raise ValueError(f"--compat organisers: only --rules {some} has something to swap, found {rules}")
    if beside.cohort.is_dir():
        raise IsADirectoryError(f"{beside.cohort} is a folder, and a table is to be written there; move it away")
    soft = PredictionsDir(predictions).probabilities
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = evaluate(
        predictions,
        _references(options),
        Tables(options.out, beside.lesions, beside.froc),
        Scoring(rules, options.compat, tuple(options.size_edges)),
        probabilities=options.probabilities or (soft if mapped_cases(soft) else None),
        jobs=options.jobs,
        progress=progress_of("evaluate"),
    )
    if report.rows:
        table = cohort_table(report.rows, report.lesions)
        write_text(beside.cohort, cohort_csv(table))
        print(cohort_text(table))
    _print_findings(report, rules)
    if report.rows:
        if decoding := decoding_in_words(report.rows):
            print(f"decoding: {decoding}")
        for remark in decoding_remarks(report.rows):
            print(f"mets3d evaluate: {remark}", file=sys.stderr)
        print(f"scores in {options.out}, by {rules} ({whose})")
    return 1 if report.problems else 0


def _predictions(folder: Path) -> Path:
    """Returns the folder of predictions: a run's own, where a run is named. Raises FileNotFoundError without any."""
    from mets3d.rundir import RunDir

    run = RunDir(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of predictions; expected label maps CASE.nii.gz or a run")
    if not run.config.is_file() or any(folder.glob("*.nii*")):
        return folder
    if not run.predictions.is_dir():
        raise FileNotFoundError(
            f"{folder}: a run without predictions; make them with `mets3d predict {folder} DATA`, or name their folder"
        )
    return run.predictions


def _default_out(predictions: Path) -> Path:
    """Returns the table beside a run's predictions, in the run; of any other folder of predictions one inside it."""
    from mets3d.rundir import SCORE_TABLE, RunDir

    run = RunDir(predictions.parent)
    of_run = run.config.is_file() and predictions == run.predictions
    return run.scores if of_run else predictions / SCORE_TABLE


def _rules_of(predictions: Path) -> tuple[str, str]:
    """Returns the rule set of the runs that made the predictions, and where it is from; the default without a run.

    Raises ValueError for runs of several rule sets, and for a run of another version.
    """
    from mets3d.config import ConfigError
    from mets3d.evaluation.rules import DEFAULT_RULES
    from mets3d.rundir import runs_of_predictions

    found: dict[str, Path] = {}
    for run in runs_of_predictions(predictions):
        try:
            if run.config.is_file():
                found.setdefault(run.load_config().validate_.rules, run.path)
        except ConfigError as error:
            raise ValueError(f"{run.config}: the run's rule set cannot be read ({error}); name one, --rules") from None
    if len(found) > 1:
        runs = ", ".join(f"{rules} of {run}" for rules, run in found.items())
        raise ValueError(f"{predictions}: expected predictions of runs with one rule set, found {runs}; name --rules")
    return next(((rules, f"validate.rules of {run}") for rules, run in found.items()), (DEFAULT_RULES, "the default"))


def _references(options: argparse.Namespace) -> Any:
    """Returns the references, found as the settings of reading say where any is set."""
    from mets3d.data.cases import find_cases
    from mets3d.evaluation.folders import References
    from mets3d.settings import READING, Data

    data, default = configuration(options, sections=READING).data, Data()
    keys = [key.removeprefix("data.") for key in READING]
    alike = all(getattr(data, key) == getattr(default, key) for key in keys)
    find = find_cases if alike else partial(find_cases, data=data)
    return References(options.references, find, data.patients, data.labels or {}, data.illegal_labels)


def _check_paths(options: argparse.Namespace, beside: list[Path]) -> None:
    """Refuses paths that would be overwritten or cannot be written. Raises ValueError or FileNotFoundError."""
    from mets3d.rundir import SCORE_TABLE

    if options.out in beside:
        raise ValueError(f"--out: {options.out.name} is the name of a table written beside it; name another file")
    if options.out.is_dir():
        raise ValueError(
            f"--out: {options.out} is a folder; name the table's file, such as {options.out / SCORE_TABLE}"
        )
    if options.probabilities is not None and not options.probabilities.is_dir():
        raise FileNotFoundError(f"--probabilities: {options.probabilities} is no folder of maps CASE.nii.gz")


def _print_findings(report: Any, rules: str) -> None:
    """Prints the references without a prediction, remarks, and the cases that could not be scored."""
    from mets3d.evaluation.rules import rules_named

    if report.unpredicted:
        shown = ", ".join(report.unpredicted[:4]) + (", ..." if len(report.unpredicted) > 4 else "")
        worst = rules_named(rules).missing_prediction == "worst"
        how = "scored as the worst, as the rules say" if worst else "not scored, the rules do not count them"
        print(f"{counted(len(report.unpredicted), 'reference')} without a prediction, {how}: {shown}", file=sys.stderr)
    for remark in report.remarks:
        print(f"mets3d evaluate: {remark}", file=sys.stderr)
    for problem in report.problems:
        print(f"mets3d evaluate: {problem}", file=sys.stderr)
