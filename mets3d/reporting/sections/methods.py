"""Writes a paragraph on methods to copy into a paper: network, training, data, rule set, decoding, tests, versions."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d import __version__
from mets3d.evaluation.rules import rule_set_of
from mets3d.reporting.arms import runs_in_words
from mets3d.reporting.chosen_weights import choosing, chosen_on_scored
from mets3d.reporting.compare import configuration_differences
from mets3d.reporting.head_lines import phantoms_in_words
from mets3d.reporting.html_page import Section
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.training_facts import MODES, loss_in_words, optimizer_in_words
from mets3d.statistics.decodings import decoding_in_words
from mets3d.statistics.family import PRIMARY, family_tests
from mets3d.statistics.intervals import FEWEST_PATIENTS, RESAMPLES, patient_numbers
from mets3d.statistics.study_table import StudyTable
from mets3d.wording import counted, joined

NNUNET = "Isensee et al., Nature Methods 18:203, 2021"
TRANSUNET = "Chen et al., 3D TransUNet, arXiv 2310.07781"
NETWORKS = {"cnn": NNUNET, "encoder": TRANSUNET, "decoder": TRANSUNET, "both": TRANSUNET}
TERMS = {
    "hausdorff": "Karimi and Salcudean, IEEE TMI 39:499, 2020",
    "signed": "Kervadec et al., Medical Image Analysis 67:101851, 2021",
    "generalized": "Celaya et al., arXiv 2302.03868",
    "region": "Valverde and Tohka, Pattern Recognition 136:109208, 2023",
    "blob": "Kofler et al., IPMI 2023, arXiv 2205.08209",
    "cc": "Bouteille et al., arXiv 2511.17146",
    "focal": "Abraham and Khan, ISBI 2019, arXiv 1810.07842",
    "top": "Wu et al., arXiv 1605.06885",
}
MOST_ARMS = 6  # that are described one by one


def methods_section(records: Sequence[RunRecord], study: StudyTable | None) -> Section:
    """Writes the paragraph, with a button that copies it."""
    return Section("methods", "Methods, to copy", render("methods.html", text=methods_paragraph(records, study)))


def methods_paragraph(records: Sequence[RunRecord], study: StudyTable | None) -> str:
    """Describes how the networks were trained, scored and compared; what a run does not say is left out."""
    parts = [
        _network(records[0]),
        _training(records[0]),
        _arms(records),
        _data(records),
        _weights(records),
        _decoding(records),
        _scores(records[0]),
        _statistics(study),
        _software(records[0]),
    ]
    return " ".join(part for part in parts if part)


def _network(record: RunRecord) -> str:
    size = record.environment.get("parameters")
    parameters = f" with {size / 1e6:.1f} million parameters" if size else ""
    mode = record.config.model.mode
    return f"The network is a {MODES[mode]}{parameters} ({NETWORKS[mode]})."


def _training(record: RunRecord) -> str:
    if record.imported_from:
        return f"Its weights were imported from {record.imported_from}."
    config = record.config
    patch = " x ".join(map(str, config.data.patch))
    patches = f"{counted(config.train.batch_size, 'patch', 'patches')} of {patch} voxels"
    return (
        f"It was trained for {counted(config.train.steps, 'step')} of {patches} with "
        f"{optimizer_in_words(config.optim)}; loss: {_loss(record)}."
    )


def _loss(record: RunRecord) -> str:
    sources = dict.fromkeys(
        source for term in record.config.loss.boundary_terms for kind, source in TERMS.items() if term.startswith(kind)
    )
    return loss_in_words(record.config) + (f" ({'; '.join(sources)})" if sources else "")


def _arms(records: Sequence[RunRecord]) -> str:
    """Says which arms were compared, in which settings they differ, and how often each was trained."""
    reference, *others = records
    if not others:
        return f"It was trained as {runs_in_words(reference)}." if reference.runs else ""
    keys = configuration_differences(records)
    told = [
        f"{run.label} ({runs_in_words(run)}; {_loss(run)})"
        if run.config.loss != reference.config.loss
        else f"{run.label} ({runs_in_words(run)})"
        for run in others[:MOST_ARMS]
    ]
    more = f" and {counted(len(others) - MOST_ARMS, 'other')}" if len(others) > MOST_ARMS else ""
    settings = f" Settings that differ: {', '.join(keys)}." if keys else " All settings but names are the same."
    return f"{reference.label} ({runs_in_words(reference)}) was compared with {'; '.join(told)}{more}.{settings}"


def _data(records: Sequence[RunRecord]) -> str:
    record, parts = records[0], []
    if training := len(record.split.get("training", ())):
        parts.append(f"{counted(training, 'case')} for training")
    if record.scores:
        patients = patient_numbers(record.held_out, record.patients)[1]
        parts.append(f"{counted(len(record.held_out), 'held-out case')} of {counted(patients, 'patient')} for scoring")
    data = record.config.data
    folds = f" ({data.folds} folds; patients never cross folds)" if record.split and data.split is None else ""
    kind = phantoms_in_words(records)
    said = f"{'The cases are ' * kind.startswith('synthetic')}{kind}." if kind else ""
    return " ".join(filter(None, [f"Data: {joined(parts)}{folds}." if parts else "", said]))


def _weights(records: Sequence[RunRecord]) -> str:
    """Says how the weights were chosen, and whether on the cases that are scored."""
    how = next((text for record in records if (text := choosing(record))), "")
    return " ".join(filter(None, [how and f"{how}.", chosen_on_scored(records)]))


def _decoding(records: Sequence[RunRecord]) -> str:
    """Says how the predictions of every arm were made; what is the same in several stands once."""
    by_way: dict[str, list[str]] = {}
    for record in records:
        by_way.setdefault(_way(record), []).append(record.label)
    if len(by_way) == 1:
        return f"Predictions were made by sliding windows with {next(iter(by_way))}."
    ways = "; ".join(f"{joined(labels)}: {way}" for way, labels in by_way.items())
    return f"Predictions were made by sliding windows, in each arm in its own way ({ways})."


def _way(record: RunRecord) -> str:
    predict = record.config.predict
    axes = f", mirrored along {counted(len(predict.mirror), 'axis', 'axes')}" if predict.mirror else ""
    decoded = decoding_in_words(record.score_rows())
    return f"an overlap of {predict.overlap:g}{axes}" + (f", decoding: {decoded}" if decoded else "")


def _scores(record: RunRecord) -> str:
    if not record.scores:
        return ""
    regions = joined([region.name for region in record.regions])
    known = rule_set_of(record.rules)
    by = known.citation if known else record.rules
    return f"Segmentations were scored in the regions {regions} by the rules of {by}, as implemented in mets3d."


def _statistics(study: StudyTable | None) -> str:
    over = f"over patients ({RESAMPLES:,} resamples; Efron and Tibshirani, 1993)"
    if study is None or not study.differences:
        few = f"none is given below {FEWEST_PATIENTS} patients"
        return f"Intervals of 95 % are percentile bootstrap intervals {over}; {few}."
    tests = len(family_tests(study.differences))
    primary = [own.score.name for own in study.differences if own.score.column in PRIMARY]
    family = ", ".join(dict.fromkeys(primary))
    on = f"{counted(len(study.cases), 'case')} of {counted(study.patients, 'patient')}"
    return (
        f"Differences were paired by case on {on} that all arms held out; a case's score is its mean over the runs of "
        f"an arm. Intervals of 95 % are percentile bootstrap intervals {over}. The primary scores, declared beforehand "
        f"({family}), were compared by Wilcoxon's signed-rank test over patients (1945) with Holm's correction (1979) "
        f"over {counted(tests, 'test')}; p below 0.05 was taken as a difference, all other differences as exploratory."
    )


def _software(record: RunRecord) -> str:
    names = {"python": "Python", "torch": "PyTorch", "accelerate": "Accelerate", "monai": "MONAI"}
    trained = [f"{shown} {record.environment[name]}" for name, shown in names.items() if record.environment.get(name)]
    own = record.environment.get("mets3d")
    where = f" on {record.environment['device']}" if record.environment.get("device") else ""
    training = (
        f"Training: {', '.join([*([f'mets3d {own}'] if own else []), *trained])}{where}. " if own or trained else ""
    )
    return f"{training}Scores were compared and reported with mets3d {__version__}."
