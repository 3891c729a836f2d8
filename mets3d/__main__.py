"""The command line: one verb a stage. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

Verb = Callable[[argparse.Namespace], int]
BESIDE_SCORES = ("lesions.csv", "froc.csv", "cohort.csv")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb. Exit code 0 done, 1 done with findings or a run's weights are unfit, 2 the input is wrong."""
    options = _parser().parse_args(arguments)
    verb: Verb = options.verb
    try:
        return verb(options)
    except (ValueError, OSError) as error:
        if _speaks():
            print(f"mets3d {options.name}: {error}", file=sys.stderr)
        return int(getattr(error, "exit_code", 2))  # see mets3d.rundir.WeightsError
    except BrokenExecutor:
        print(
            f"mets3d {options.name}: a worker process died, most likely for memory; use fewer --jobs", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mets3d",
        description="Brain-metastasis segmentation in 3D MRI, from raw cases to a comparison of losses. "
        "Training itself is `accelerate launch train.py --config FILE`.",
    )
    verbs = parser.add_subparsers(dest="name", required=True, metavar="VERB", parser_class=_VerbParser)

    def verb(name: str, function: Verb, summary: str) -> _VerbParser:
        sub = verbs.add_parser(name, help=summary, description=summary)
        sub.set_defaults(verb=function)
        return sub

    synth = verb("synth", _synth, "write phantom cases in BraTS-METS layout, with known ground truth")
    synth.add_argument("out", type=Path, metavar="OUT", help="folder for the cases")
    synth.add_argument("--cases", type=int, default=8, metavar="N", help="number of patients (default 8)")
    synth.add_argument("--seed", type=int, default=0, metavar="S", help="case k is the same for every N (default 0)")
    synth.add_argument("--shape", type=int, nargs=3, default=(240, 240, 155), metavar=("X", "Y", "Z"), help="voxels")
    synth.add_argument("--spacing", type=float, nargs="+", default=[1.0], metavar="MM", help="voxel size: one or three")

    check = verb(
        "check", _check, "show everything that is wrong or odd about a data set; exit 1 if a case cannot be used"
    )
    check.add_argument("data", type=Path, metavar="DATA", help="folder with cases at any depth")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the findings there too")
    check.add_argument("--cavity", action="store_true", help="label 4, the resection cavity, is to be learned")
    check.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")

    preprocess = verb("preprocess", _preprocess, "crop, resample and normalise cases into a store for training")
    preprocess.add_argument("data", type=Path, metavar="DATA", help="folder with cases at any depth")
    preprocess.add_argument("store", type=Path, metavar="STORE", help="folder to write")
    preprocess.add_argument("--config", type=Path, metavar="FILE", help="configuration; its preprocess section is used")
    preprocess.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")

    predict = verb("predict", _predict, "segment cases with a trained run; label maps on each case's own grid")
    predict.add_argument("run", type=Path, metavar="RUN", help="run directory")
    predict.add_argument("data", type=Path, metavar="DATA", help="folder with cases at any depth")
    predict.add_argument("out", type=Path, nargs="?", metavar="OUT", help="folder to write (default RUN/predictions)")
    predict.add_argument("--probabilities", action="store_true", help="write them too, in OUT/probabilities")
    predict.add_argument("--held-out", action="store_true", help="only the cases that the run was validated on")
    predict.add_argument("--also", type=Path, nargs="+", default=[], metavar="RUN",
                         help="more runs, such as folds, to average as probabilities; needs OUT")  # fmt: skip
    predict.add_argument("--region-weights", nargs="+", default=[], metavar="WT=1,2",
                         help="weights of the average, per region one number a run")  # fmt: skip
    predict.add_argument("--decoding", metavar="FILE",
                         help="thresholds: a file, or `default`: as if the run were not tuned")  # fmt: skip
    predict.takes_overrides("settings of the run to change, as --predict.overlap=0.75 or --precision=bf16")

    tune = verb("tune", _tune, "choose thresholds and component limits on held-out predictions")
    tune.add_argument("run", type=Path, metavar="RUN", help="run directory with predictions/probabilities")
    tune.add_argument("data", type=Path, metavar="DATA", help="data set that the run was trained on")
    tune.add_argument("--objective", default="lesion_wise_dice", metavar="SCORE",
                      help="its mean is raised: lesion_wise_dice (default), f1 or dice")  # fmt: skip
    tune.add_argument("--rules", default="brats2023", help="rule set of the score (default brats2023)")
    tune.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    tune.add_argument("--out", type=Path, metavar="FILE", help="file to write (default RUN/decoding.json)")

    export = verb("export", _export, "make a folder of a run to give away: weights, card, no paths or case names")
    export.add_argument("run", type=Path, metavar="RUN", help="run directory")
    export.add_argument("out", type=Path, metavar="OUT", help="folder to make")
    export.add_argument("--license", metavar="ID", help="of the weights, as cc-by-4.0; it is yours to choose")
    export.add_argument("--name", dest="model", metavar="NAME", help="of the model (default the run's)")
    export.add_argument("--dataset", metavar="NAME", help="what the scored cases are called in the card")
    export.add_argument("--scores", type=Path, metavar="FILE",
                        help="table for the card (default RUN/scores.csv, if there), or `none`")  # fmt: skip
    export.add_argument("--onnx", action="store_true", help="write model.onnx too, checked against PyTorch")
    export.add_argument("--bundle", action="store_true", help="make the folder a MONAI bundle too")

    evaluate = verb("evaluate", _evaluate, "lesion-wise and whole-volume scores of predictions against references")
    evaluate.add_argument("predictions", type=Path, metavar="PREDICTIONS", help="CASE.nii.gz files, or a data set")
    evaluate.add_argument("references", type=Path, metavar="REFERENCES", help="CASE.nii.gz files, or a data set")
    evaluate.add_argument("--out", type=Path, required=True, metavar="scores.csv", help="one row a case and region")
    evaluate.add_argument("--rules", default="brats2023", help="brats2023 (default), brats2024 or brats2026")
    evaluate.add_argument(
        "--compat", choices=["organisers"], help="brats2026: swap the first and last voxel size, as that program does"
    )
    evaluate.add_argument(
        "--size-edges", type=float, nargs="+", default=[2, 27, 100, 275], metavar="MM3", help="between size classes"
    )
    evaluate.add_argument(
        "--probabilities",
        type=Path,
        metavar="DIR",
        help="maps for froc.csv (default PREDICTIONS/probabilities, if there)",
    )
    evaluate.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")

    compare = verb("compare", _compare, "paired tests between the score tables of two or more methods, and their ranks")
    compare.add_argument("tables", type=Path, nargs="+", metavar="SCORES.csv", help="score tables, or run directories")
    compare.add_argument("--names", nargs="+", metavar="NAME", help="what the methods are called, in the same order")
    compare.add_argument("--scores", nargs="+", metavar="COLUMN",
                         help="scores to test (default those that the rule set ranks by, f1, dice, hd95)")  # fmt: skip
    compare.add_argument("--out", type=Path, metavar="comparison.csv", help="write the numbers there too")

    report = verb("report", _report, "one HTML page of a run, or of several runs compared")
    report.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories")
    report.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write; the page is index.html"
    )

    weights = verb("import-weights", _import_weights, "make a run directory of an original 3D TransUNet checkpoint")
    weights.add_argument("file", type=Path, metavar="FILE", help="checkpoint: .model, .pth or .safetensors")
    weights.add_argument("--patch", type=int, nargs=3, required=True, metavar=("X", "Y", "Z"), help="its patch, voxels")
    weights.add_argument("--layer-scale", choices=("off", "correct", "reference"), default="reference",
                         help="form given to the LayerScale in the file (default reference)")  # fmt: skip
    weights.add_argument("--target", choices=("regions", "labels"), default="regions", help="what its classes are")
    weights.add_argument("--out", type=Path, required=True, metavar="DIR", help="run directory to write")
    return parser


class _VerbParser(argparse.ArgumentParser):
    """A verb's arguments; where it takes overrides, words like `--section.key=value` become `overrides`."""

    overridable = False

    def takes_overrides(self, meaning: str) -> None:
        self.overridable = True
        self.set_defaults(overrides=[])
        self.epilog = f"--SECTION.KEY=VALUE ...  {meaning}"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        overrides = [word for word in words if self.overridable and re.match(r"--(\w+\.[\w.]+|precision)=", word)]
        options, unknown = super().parse_known_args([word for word in words if word not in overrides], namespace)
        if overrides:
            options.overrides = overrides
        return options, unknown


def _synth(options: argparse.Namespace) -> int:
    from mets3d.phantoms.synth import synthesise

    spacing = tuple(
        options.spacing * (3 // len(options.spacing)) if len(options.spacing) in (1, 3) else options.spacing
    )
    if len(spacing) != 3:
        raise ValueError(f"--spacing: expected one or three numbers, found {len(options.spacing)}")
    names = synthesise(
        options.out,
        options.cases,
        options.seed,
        shape=tuple(options.shape),
        spacing_mm=spacing,
        progress=_counter("synth"),
    )
    print(f"{len(names)} case{'s' * (len(names) != 1)} in {options.out}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from mets3d.data.check import check
    from mets3d.files import write_json

    report = check(options.data, _counter("check"), cavity=options.cavity, jobs=options.jobs)
    print(report.table())
    if options.json is not None:
        write_json(options.json, report.as_json())
    return 1 if report.unusable else 0


def _preprocess(options: argparse.Namespace) -> int:
    from mets3d.config import Config, ConfigError, load
    from mets3d.data.preprocess import preprocess

    try:
        config = load(["--config", str(options.config)]) if options.config else Config()
    except ConfigError as error:
        raise ValueError(f"{options.config}:\n{error}") from None
    _say_where(options.data)
    notes = preprocess(
        options.data,
        options.store,
        config.preprocess,
        cavity=config.data.cavity,
        jobs=options.jobs,
        progress=_counter("preprocess"),
    )
    for note in notes:
        print(note)
    print(f"store in {options.store}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from mets3d.inference.predict import predict

    result = predict(
        options.run,
        options.data,
        options.out,
        also=options.also,
        region_weights=options.region_weights,
        decoding=options.decoding,
        overrides=options.overrides,
        probabilities=options.probabilities,
        held_out=options.held_out,
        progress=_counter("predict"),
    )
    _say_where(options.data)
    if _speaks():
        for case, reason in result.failures.items():
            print(f"mets3d predict: {case}: {reason}", file=sys.stderr)
        for remark in result.remarks:
            print(remark)
        print(f"decoding: {result.decoded_by}")
        print(f"{len(result.cases)} label maps in {result.folder}")
        if result.skipped:
            print(f"{len(result.skipped)} of them were there already, made the same way from the same files")
    return 1 if result.failures else 0


def _tune(options: argparse.Namespace) -> int:
    from mets3d.tuning.tune import tune

    tuning = tune(
        options.run,
        options.data,
        objective=options.objective,
        rules=options.rules,
        jobs=options.jobs,
        out=options.out,
        progress=_counter("tune"),
    )
    print(f"mean {tuning.objective} by {tuning.rules}")
    print(tuning.table())
    for caveat in tuning.caveats():
        print(caveat)
    print(f"decoding in {tuning.file}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from mets3d.release.export import export

    exported = export(
        options.run,
        options.out,
        name=options.model,
        license_id=options.license,
        dataset=options.dataset,
        scores=options.scores,
        with_onnx=options.onnx,
        with_bundle=options.bundle,
    )
    for remark in exported.remarks:
        print(remark)
    print(f"model in {exported.folder}, its card is {exported.folder / 'README.md'}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from mets3d.evaluation.evaluate import evaluate
    from mets3d.evaluation.rules import rules_named
    from mets3d.files import write_text
    from mets3d.statistics.cohort import cohort_csv, cohort_table, cohort_text

    beside = [options.out.with_name(name) for name in BESIDE_SCORES]
    if options.out in beside:
        raise ValueError(f"--out: {options.out.name} is the name of a table written beside it; name another file")
    if options.out.is_dir():
        raise ValueError(
            f"--out: {options.out} is a folder; name the table's file, such as {options.out / 'scores.csv'}"
        )
    if options.probabilities is not None and not options.probabilities.is_dir():
        raise FileNotFoundError(f"--probabilities: {options.probabilities} is no folder of maps CASE.nii.gz")
    if options.compat and options.rules != "brats2026":
        raise ValueError(f"--compat organisers: only --rules brats2026 has something to swap, found {options.rules}")
    lesions, froc, cohort = beside
    if cohort.is_dir():
        raise IsADirectoryError(f"{cohort} is a folder, and a table is to be written there; move it away")
    soft = options.predictions / "probabilities"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = evaluate(
        options.predictions,
        options.references,
        rules=options.rules,
        compat=options.compat,
        size_edges_mm3=options.size_edges,
        scores=options.out,
        lesions=lesions,
        probabilities=options.probabilities or (soft if soft.is_dir() else None),
        froc=froc,
        jobs=options.jobs,
        progress=_counter("evaluate"),
    )
    if report.rows:
        table = cohort_table(report.rows, report.lesions)
        write_text(cohort, cohort_csv(table))
        print(cohort_text(table))
    if report.unpredicted:
        shown = ", ".join(report.unpredicted[:4]) + (", ..." if len(report.unpredicted) > 4 else "")
        counted = rules_named(options.rules).missing_prediction == "worst"
        how = "scored as the worst, as the rules say" if counted else "not scored, the rules do not count them"
        print(f"{len(report.unpredicted)} references without a prediction, {how}: {shown}", file=sys.stderr)
    for problem in report.problems:
        print(f"mets3d evaluate: {problem}", file=sys.stderr)
    if report.rows:
        print(f"scores in {options.out}")
    return 1 if report.problems else 0


def _compare(options: argparse.Namespace) -> int:
    from mets3d.files import write_text
    from mets3d.statistics.comparison import compare_methods, method_names
    from mets3d.statistics.comparison_tables import comparison_csv, comparison_text
    from mets3d.statistics.score_table import read_scores

    names = method_names(options.tables, options.names)
    tables = dict(zip(names, map(read_scores, options.tables), strict=True))
    comparison = compare_methods(tables, scores=options.scores)
    print(comparison_text(comparison))
    if options.out is not None:
        write_text(options.out, comparison_csv(comparison))
        print(f"comparison in {options.out}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from mets3d.reporting.page import report, summary_text

    page = report(options.runs, options.out, progress=_counter("report"))
    for run in options.runs:
        print(summary_text(run))
    print(page)
    return 0


def _import_weights(options: argparse.Namespace) -> int:
    from mets3d.release.import_original import write_run

    run = write_run(
        options.file,
        options.out,
        patch=tuple(options.patch),
        layer_scale=options.layer_scale,
        target=options.target,
    )
    print(f"run directory in {run}")
    return 0


def _say_where(data: Path) -> None:
    """How many cases lie where: a subfolder that was overlooked is a data set half read."""
    from mets3d.data.cases import find_cases

    if _speaks():
        for folder, count in find_cases(data).where.items():
            print(f"{count} case{'s' * (count != 1)} in {folder}")


def _speaks() -> bool:
    """Of several processes, rank 0 alone prints."""
    return os.environ.get("RANK", "0") == "0"


def _counter(what: str) -> Callable[[int, int, str], None]:
    """A bar on a terminal, else a plain line at every tenth of the way."""
    bar: Any = None

    def show(done: int, total: int, name: str) -> None:
        nonlocal bar
        if not _speaks():
            return
        if not sys.stderr.isatty():
            if done * 10 // total > (done - 1) * 10 // total:
                print(f"{what} {done}/{total}  {name}", file=sys.stderr, flush=True)
            return
        from tqdm import tqdm

        bar = bar if bar is not None else tqdm(total=total, desc=what, dynamic_ncols=True)
        bar.set_postfix_str(name, refresh=False)
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return show


if __name__ == "__main__":
    sys.exit(main())
