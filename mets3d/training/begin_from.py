"""Begins a run from another: its weights and, where asked, its optimizer and step; or from weights in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mets3d.config import Config
from mets3d.files import MissingWeightsError
from mets3d.models.transunet import TransUNet
from mets3d.models.warm_start import HEADS, read_weights, warm_start
from mets3d.rundir import RunDir, open_run
from mets3d.training import checkpoint
from mets3d.training.checkpoint import Whole
from mets3d.training.groups import parameter_groups
from mets3d.training.optimizer_state import parameters_of_groups, read_optimizer


@dataclass(frozen=True)
class Origin:
    """The checkpoint from which a run begins, and what is kept of it besides the weights."""

    checkpoint: Whole
    keep: Sequence[str]


def begin_from(config: Config, network: TransUNet) -> tuple[list[str], Origin | None]:
    """Loads the weights that `config.weights` names, and returns what matched, in a line, and what else is kept.

    A run gives the weights that it predicts with; where `weights_keep` asks for its optimizer or step, those of its
    newest whole checkpoint, to which these belong. Raises ValueError or OSError where the files are missing, broken or
    of another network, and where settings contradict each other.
    """
    source = Path(str(config.weights))
    file, origin = _file_of(source, config)
    weights = read_weights(file, network)
    if _learned_otherwise(source, config):
        # Channels of another meaning may have the same shape: four regions, or background and three labels.
        weights = {name: value for name, value in weights.items() if not name.startswith(HEADS)}
    matched = warm_start(network, weights, file)
    if origin is not None and "optimizer" in origin.keep:
        if matched.fresh or matched.unused or matched.resampled:
            raise ValueError(
                f"weights_keep: the optimizer of {source} is of another network; expected the same, or weights_keep "
                f"without optimizer; {matched.line(file, network)}"
            )
        _check_groups(origin.checkpoint, network, config)
    return [matched.line(file, network), *_kept(origin)], origin


def _file_of(source: Path, config: Config) -> tuple[Path, Origin | None]:
    """Returns the file of weights that a run or path means, and the checkpoint that is kept of the run."""
    if source.is_dir():
        run = open_run(source, needs=("config",))
        origin = _newest(run, config) if config.weights_keep else None
        file = run.weights if origin is None else origin.checkpoint.folder.weights
        if not file.is_file():
            raise MissingWeightsError(f"{run.path} has no {file.name}; the run has not written its weights yet")
        return file, origin
    if config.weights_keep:
        kept = " and ".join(config.weights_keep)
        raise ValueError(
            f"weights_keep: expected `weights` to be a run directory, which has checkpoints with {kept}; found the "
            f"file {source}"
        )
    return source, None


def _learned_otherwise(source: Path, config: Config) -> bool:
    """Returns whether a run, or the run that a file lies in, learned other regions or labels than this one is to.

    Raises ValueError where its network saw other channels. Of a file alone neither is known.
    """
    run = RunDir(source if source.is_dir() else source.parent)
    if not run.config.is_file():
        return False
    before = open_run(run.path, needs=("config",)).load_config().data
    theirs, ours = before.sequences, config.data.sequences
    if theirs != ours:
        raise ValueError(
            f"weights: {run.path} was trained with data.sequences [{', '.join(theirs)}], and here they are "
            f"[{', '.join(ours)}]; expected the same in the same order"
        )
    return before.target != config.data.target or before.cavity != config.data.cavity


def _newest(run: RunDir, config: Config) -> Origin:
    """Returns the newest whole checkpoint of a run. Raises ValueError where it cannot be gone on from as asked."""
    found, _ = checkpoint.newest_whole(run)
    if found is None:
        raise ValueError(
            f"weights_keep: {run.path} has no whole checkpoint; leave weights_keep out to take its weights"
        )
    step, before = found.record.progress.step, run.load_config()
    if "step" in config.weights_keep and step >= config.train.steps:
        raise ValueError(
            f"weights_keep: {run.path} is at step {step} and train.steps is {config.train.steps}; expected more, or "
            "weights_keep without step"
        )
    if "optimizer" in config.weights_keep and before.optim.name != config.optim.name:
        raise ValueError(
            f"weights_keep: the optimizer of {run.path} is {before.optim.name}, and optim.name is {config.optim.name}; "
            "expected the same, or weights_keep without optimizer"
        )
    return Origin(found, config.weights_keep)


def _check_groups(found: Whole, network: TransUNet, config: Config) -> None:
    """Raises ValueError where the optimizer of a checkpoint has its parameters in other groups than this run's."""
    saved = parameters_of_groups(read_optimizer(found.folder.optimizer, mapped=True)) or []
    own = parameter_groups(network, config.optim)
    theirs, ours = [len(group) for group in saved], [len(group["params"]) for group in own]
    if theirs != ours:
        raise ValueError(
            f"weights_keep: the optimizer in {found.folder.path} has groups of {theirs} parameters, this run's of "
            f"{ours}; expected the same optim.layer_decay and optim.weight_decay_on, or weights_keep without optimizer"
        )


def _kept(origin: Origin | None) -> list[str]:
    if origin is None:
        return ["optimizer and step begin anew"]
    step = origin.checkpoint.record.progress.step
    optimizer = "kept" if "optimizer" in origin.keep else "anew"
    return [f"optimizer {optimizer}, first step {step if 'step' in origin.keep else 0}"]
