"""Describes in words what a run trained, on what and where: plain text, not yet escaped."""

from __future__ import annotations

from datetime import datetime

from mets3d.config import Config, Loss, Optim
from mets3d.reporting.pace import pace
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import duration
from mets3d.statistics.decodings import decoding_in_words
from mets3d.statistics.study_table import step_seconds
from mets3d.wording import counted

MODES = {
    "cnn": "3D U-Net without a transformer",
    "encoder": "3D TransUNet, transformer at the bottleneck (encoder mode)",
    "decoder": "3D TransUNet, query decoder (decoder mode)",
    "both": "3D TransUNet, transformer at the bottleneck and query decoder (both)",
}


def loss_in_words(config: Config) -> str:
    """Describes the loss with its weights and, for a boundary term, the steps over which it ramps in."""
    loss, model = config.loss, config.model
    region = _region_loss(loss, config.data.target)
    if model.has_queries:
        text = (
            f"query loss with Hungarian matching (class {loss.query_class:g}, cross-entropy {loss.query_bce:g}, "
            f"Dice {loss.query_dice:g})"
        )
        text += f"; {region} on the CNN's deep heads" if model.deep_supervision else ""
    else:
        text = region + (" with deep supervision" if model.deep_supervision else "")
    return f"{text}; {_boundary(config)}"


def _region_loss(loss: Loss, target: str) -> str:
    entropy = "BCE" if target == "regions" else "CE"
    terms = {f"soft Dice{' of the batch' * loss.batch_dice}": loss.dice_weight, entropy: loss.ce_weight}
    return (
        " + ".join(name if weight == 1 else f"{weight:g} x {name}" for name, weight in terms.items() if weight)
        or "none"
    )


def _boundary(config: Config) -> str:
    loss, steps = config.loss, config.train.curve_steps
    if loss.boundary == "none":
        return "no boundary term"
    start, end = (round(share * steps) for share in loss.boundary_ramp)
    ramped = f"between steps {start:,} and {end:,}"
    several = len(loss.boundary_terms) > 1
    share = "as much as" if loss.weight == 1 else f"{loss.weight:g} times as much as"
    match loss.boundary_schedule:
        case "constant":
            weight = f"with weight {loss.weight:g}"
        case "ramp":
            weight = f"{'their' if several else 'its'} weight rising from 0 to {loss.weight:g} {ramped}"
        case "balanced":
            weight = f"weighed by their running ratio to count {share} the base loss, rising from 0 {ramped}"
        case "gradient":
            weight = (
                f"weighed by the running ratio of gradients at the logits to pull {share} the base loss, rising from 0 "
                f"{ramped}"
            )
    hausdorff = [name for name in loss.boundary_terms if name.startswith("hausdorff")]
    exponents = {f"{_exponent(loss, name):g}" for name in hausdorff}
    exponent = f", exponent {' and '.join(sorted(exponents))}" if hausdorff else ""
    losses = "losses" if several else "loss"
    if several and loss.boundary_shares:
        losses += f", {' to '.join(f'{share:g}' for share in loss.boundary_shares)}"
    return f"plus {boundary_name(config)} {losses}, {weight}{exponent}, {loss.boundary_reduction} over labels"


def _exponent(loss: Loss, name: str) -> float:
    """Returns the exponent of a Hausdorff term; without a value of its own the conditioned form has another one."""
    return loss.boundary_alpha or (1.0 if name == "hausdorff_conditioned" else 2.0)


def boundary_name(config: Config) -> str:
    """Names the boundary term or terms, each with its variant where that is not the default."""
    return " and ".join(_term_name(config.loss, term) for term in config.loss.boundary_terms)


def _term_name(loss: Loss, term: str) -> str:
    name = term.replace("_", " ").replace("hausdorff", "Hausdorff")
    if term in ("hausdorff_distance", "hausdorff_log"):
        name = {"both": "", "target": "one-sided ", "directed": "directed "}[loss.boundary_sides] + name
    return name


def optimizer_in_words(optim: Optim) -> str:
    """Describes the optimizer with its learning rate over the steps, and the averages of the weights."""
    name = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD with Nesterov momentum"}[optim.name]
    curve = {
        "cosine": "half a cosine",
        "poly": f"(1 - step / steps)^{optim.poly_power:g}",
        "constant": "constant",
        "step": f"times {optim.step_factor:g} every {counted(optim.step_every or 0, 'step')}",
    }[optim.schedule]
    parts = [name, f"peak learning rate {optim.lr:g}", f"{optim.warmup_steps:,} warm-up steps, then {curve}"]
    if optim.layer_decay is not None:
        parts.append(f"times {optim.layer_decay:g} for each layer down in the transformers")
    if optim.ema is not None:
        parts.append(f"weights averaged with decay {optim.ema:g}")
    return ", ".join(parts)


def lede(record: RunRecord) -> str:
    """Says in one sentence which network was trained on how many cases and scored on how many."""
    config, environment = record.config, record.environment
    size = environment.get("parameters")
    network = MODES[config.model.mode] + (f", {size / 1e6:.1f} million parameters" if size else "")
    if record.imported_from:
        weights = f", weights imported from {record.imported_from}"
    else:
        training = len(record.split.get("training", ()))
        on = f" on {counted(training, 'case')}" if training else ""
        weights = f", trained for {counted(record.training[-1]['step'], 'step')}{on}" if record.training else ""
    tested = f"; scored on {counted(len(record.held_out), 'held-out case')}" if record.scores else ""
    if decoding := decoding_in_words(record.score_rows()):
        tested += f", decoding: {decoding}"
    return f"{network}{weights}{tested}."


def facts(record: RunRecord) -> dict[str, str]:
    """Returns the facts of a training as label -> text: network, loss, data, hardware; unknown ones are left out."""
    config, environment, split = record.config, record.environment, record.split
    if record.imported_from:
        return {"Network": MODES[config.model.mode], "Weights": f"imported from {record.imported_from}"}
    size = environment.get("parameters")
    versions = (
        f"{name} {environment[name]}" for name in ("mets3d", "python", "torch", "accelerate") if environment.get(name)
    )
    known = {
        "Network": MODES[config.model.mode],
        "Parameters": f"{size:,}" if size else "",
        "Loss": loss_in_words(config),
        "Optimizer": optimizer_in_words(config.optim),
        "Steps": f"{config.train.steps:,} with {counted(config.train.batch_size, 'sample')} each",
        "Patch": " × ".join(str(side) for side in config.data.patch) + " voxels",
        "Data": _data(config, len(split.get("training", ())), len(split.get("validation", ()))) if split else "",
        "Seed": str(config.seed),
        "Precision": str(environment.get("precision") or config.precision or "").replace("no", "fp32"),
        "Hardware": _hardware(environment),
        "Other hosts": _other_hosts(environment),
        "Time": _time(record),
        "Cost of a step": _step(record),
        "Software": ", ".join(versions),
        "Command": str(environment.get("command") or ""),
    }
    return {label: text for label, text in known.items() if text}


def _hardware(environment: dict[str, object]) -> str:
    device, processes = environment.get("device"), environment.get("processes")
    several = counted(int(str(processes)), "process", "processes") if processes else ""
    return ", ".join(str(part) for part in (device, several, environment.get("platform")) if part)


def _other_hosts(environment: dict[str, object]) -> str:
    """Says that scores are those of one host, and of which; empty where that is not known."""
    host = environment.get("processor") or environment.get("platform")
    if not (host and environment.get("device")):
        return ""
    device = str(environment["device"])
    on = str(host) if device.startswith("cpu") else f"{device} with {host}"
    return f"processors round differently, so the same command gives somewhat other scores elsewhere; these are of {on}"


def _step(record: RunRecord) -> str:
    """Says how long a step takes, and on what."""
    seconds = step_seconds(record.training, record.config.train.batch_size)
    device = record.environment.get("device")
    return "" if seconds is None else f"{seconds:.3g} s, median" + (f", on {device}" if device else "")


def _data(config: Config, training: int, held_out: int) -> str:
    data = config.data
    where = f"fold {data.fold} of {data.folds}"
    if data.inner_folds is not None:
        where = f"one of {data.inner_folds} parts of the cases that {where} trains on"
    return f"{counted(training, 'training case')}, {held_out:,} held out ({where})"


def _time(record: RunRecord) -> str:
    """Says how long the training took and when it began.

    A session that still runs or was killed is not in the record of its time; then its log knows more.
    """
    seconds, started, finished = (record.environment.get(key) for key in ("seconds", "started", "finished"))
    if seconds is None and started and finished:
        seconds = (datetime.fromisoformat(str(finished)) - datetime.fromisoformat(str(started))).total_seconds()
    noted, logged = float(seconds or 0.0), pace(record).seconds
    parts = [duration(noted)] if noted else []
    if logged > noted:
        parts = [f"{duration(logged)} in the steps and validations that are logged"]
    return ", ".join(parts + ([f"started {started}"] if started else []))
