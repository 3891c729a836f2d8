"""Settings and numbers as sentences: plain text, not yet escaped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mets3d.config import Config, Loss
from mets3d.reporting.run_record import RunRecord

MINUS = "\u2212"
MODES = {
    "cnn": "3D U-Net without a transformer",
    "encoder": "3D TransUNet, transformer at the bottleneck (encoder mode)",
    "decoder": "3D TransUNet, query decoder (decoder mode)",
    "both": "3D TransUNet, transformer at the bottleneck and query decoder (both)",
}


def number(value: float | None, digits: int, *, sign: bool = False) -> str:
    """A number with a fixed count of decimals and a true minus; a dash where there is none."""
    if value is None:
        return "–"
    rounded = round(value, digits) + 0.0  # + 0.0: there is no negative zero on the page
    text = f"{rounded:+.{digits}f}" if sign and rounded else f"{rounded:.{digits}f}"
    return text.replace("-", MINUS)


def count(amount: int, noun: str, plural: str = "") -> str:
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def shortened(text: str, most: int) -> str:
    """At most `most` characters; the middle is left out, because names of runs differ at their ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def duration(seconds: float) -> str:
    """Seconds as the two largest of days, hours, minutes and seconds."""
    parts = []
    rest = round(seconds)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        amount, rest = divmod(rest, size)
        if amount:
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2]) or "0 s"


def loss_in_words(config: Config) -> str:
    """What is minimised, with weights and, for a boundary term, the steps over which it ramps in."""
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
    terms = {"soft Dice": loss.dice_weight, entropy: loss.ce_weight}
    return (
        " + ".join(name if weight == 1 else f"{weight:g} x {name}" for name, weight in terms.items() if weight)
        or "none"
    )


def _boundary(config: Config) -> str:
    loss, steps = config.loss, config.train.steps
    if loss.boundary == "none":
        return "no boundary term"
    start, end = (round(share * steps) for share in loss.boundary_ramp)
    ramped = f"between steps {start:,} and {end:,}"
    match loss.boundary_schedule:
        case "constant":
            weight = f"with weight {loss.boundary_weight:g}"
        case "ramp":
            weight = f"its weight rising from 0 to {loss.boundary_weight:g} {ramped}"
        case "balanced":
            share = "as much as" if loss.boundary_weight == 1 else f"{loss.boundary_weight:g} times as much as"
            weight = f"weighed by their running ratio to count {share} the base loss, rising from 0 {ramped}"
    exponent = f", exponent {loss.boundary_alpha:g}" if loss.boundary.startswith("hausdorff") else ""
    return f"plus {boundary_name(config)} loss, {weight}{exponent}, {loss.boundary_reduction} over labels"


def boundary_name(config: Config) -> str:
    """The term and what of it differs from the default, as a reader says it."""
    loss = config.loss
    name = loss.boundary.replace("_", " ").replace("hausdorff", "Hausdorff")
    if loss.boundary in ("hausdorff_distance", "hausdorff_log"):
        name = {"both": "", "target": "one-sided ", "directed": "directed "}[loss.boundary_sides] + name
    return name


def lede(record: RunRecord) -> str:
    """One sentence on what was trained on what."""
    config, environment = record.config, record.environment
    size = environment.get("parameters")
    network = MODES[config.model.mode] + (f", {size / 1e6:.1f} million parameters" if size else "")
    if record.imported_from:
        weights = f", weights imported from {record.imported_from}"
    else:
        training = len(record.split.get("training", ()))
        on = f" on {count(training, 'case')}" if training else ""
        weights = f", trained for {count(record.training[-1]['step'], 'step')}{on}" if record.training else ""
    tested = f"; scored on {count(len(record.held_out), 'held-out case')}" if record.scores else ""
    return f"{network}{weights}{tested}."


def facts(record: RunRecord) -> dict[str, str]:
    """What was trained, how and where, as label -> text; what is not known is left out."""
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
        "Optimizer": (
            f"{'AdamW' if config.optim.name == 'adamw' else 'SGD with Nesterov momentum'}, peak learning rate "
            f"{config.optim.lr:g}, {config.optim.warmup_steps:,} warm-up steps"
        ),
        "Steps": f"{config.train.steps:,} with {count(config.train.batch_size, 'sample')} each",
        "Patch": " × ".join(str(side) for side in config.data.patch) + " voxels",
        "Data": _data(config, len(split.get("training", ())), len(split.get("validation", ()))) if split else "",
        "Seed": str(config.seed),
        "Precision": str(environment.get("precision") or config.precision or "").replace("no", "fp32"),
        "Hardware": _hardware(environment),
        "Time": _time(environment),
        "Software": ", ".join(versions),
        "Command": str(environment.get("command") or ""),
    }
    return {label: text for label, text in known.items() if text}


def _hardware(environment: dict[str, object]) -> str:
    device, processes = environment.get("device"), environment.get("processes")
    several = count(int(str(processes)), "process", "processes") if processes else ""
    return ", ".join(str(part) for part in (device, several, environment.get("platform")) if part)


def _data(config: Config, training: int, held_out: int) -> str:
    return f"{count(training, 'training case')}, {held_out:,} held out (fold {config.data.fold} of {config.data.folds})"


def _time(environment: dict[str, object]) -> str:
    seconds, started, finished = (environment.get(key) for key in ("seconds", "started", "finished"))
    if seconds is None and started and finished:
        seconds = (datetime.fromisoformat(str(finished)) - datetime.fromisoformat(str(started))).total_seconds()
    parts = [duration(float(str(seconds)))] if seconds is not None else []
    return ", ".join(parts + ([f"started {started}"] if started else []))


# ---------------------------------------------------------------- against a threshold


@dataclass(frozen=True)
class Threshold:
    """Mean whole-volume Dice of the best threshold and of the network on the same `n` held-out cases."""

    sequence: str
    region: str
    alone: float
    network: float
    n: int


def threshold_comparison(record: RunRecord) -> Threshold | None:
    """The run beside one threshold on one sequence, on the cases that both have; None where there are none."""
    baseline = record.baseline
    region = str(baseline.get("region", "WT"))
    threshold, network = baseline.get("per_case") or {}, record.values(region, "dice")
    shared = sorted(case for case in network if threshold.get(case) is not None)
    if not shared:
        return None
    alone = sum(threshold[case] for case in shared) / len(shared)
    learned = sum(network[case] for case in shared) / len(shared)
    return Threshold(str(baseline.get("sequence", "t2f")), region, alone, learned, len(shared))


def against_threshold(record: RunRecord) -> str:
    """The same as a sentence; empty without a baseline."""
    found = threshold_comparison(record)
    if found is None:
        reached = record.baseline.get("validation_dice")
        if reached is None:
            return ""
        return (
            f"Best single threshold on {record.baseline.get('sequence', 't2f')}, chosen on the training cases: "
            f"{record.baseline.get('region', 'WT')} Dice {number(reached, 3)} on the held-out cases, on which the "
            "network has no scores yet."
        )
    gain = number(found.network - found.alone, 3, sign=True)
    return (
        f"Best single threshold on {found.sequence}, chosen on the training cases: {found.region} Dice "
        f"{number(found.alone, 3)} on {count(found.n, 'held-out case')}. The network reaches "
        f"{number(found.network, 3)} on the same cases, a difference of {gain}."
    )
