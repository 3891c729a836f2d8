"""Chooses and checks the members, settings, weights and decoding of a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from mets3d.config import Config, ConfigError, Data, overridden
from mets3d.inference.decoding_plan import DecodingPlan, decoding_plan
from mets3d.inference.decoding_settings import check_tuned_for
from mets3d.inference.members import Member, load_members, member_weights
from mets3d.regions import Target

CHANGEABLE = ("predict", "precision")  # what can differ from the training
OF_FILES = ("data.grids", "data.missing_sequences")  # and what can differ with the files that are predicted


@dataclass(frozen=True)
class Choices:
    """What a user chose beside the run.

    also: more runs, whose probabilities are averaged with the run's. region_weights: words like `WT=1,2`, see
    `mets3d.inference.members.member_weights`. decoding: `default`, a file, or None for the run's own decoding.json
    where it has one and is alone. overrides: words like `--predict.overlap=0.75`.
    """

    also: Sequence[Path] = ()
    region_weights: Sequence[str] = ()
    decoding: str | Path | None = None
    overrides: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Setup:
    """Loaded members and what rules their prediction; `tuned` is the file of the decoding, None for the default."""

    members: list[Member]
    config: Config
    weights: Float32[np.ndarray, "M R"]
    plan: DecodingPlan
    tuned: Path | None

    @property
    def target(self) -> Target:
        """What the members answer, all alike."""
        return self.members[0].target

    @property
    def reading(self) -> Data:
        """How files are read: as the first run's settings say, without those about the cases it was trained on.

        The sequences are all that some member sees; they may be missing where every member allows it.
        """
        channels = tuple(dict.fromkeys(channel for member in self.members for channel in member.plan.sequences))
        may_miss = all(member.config.data.missing_sequences == "zero" for member in self.members)
        changes = {"sequences": channels, "missing_sequences": "zero" if may_miss else "refuse"}
        others = dict.fromkeys(("exclude", "overlay", "patients", "split"))
        return self.config.data.model_copy(update={**others, **changes})


def set_up(run: Path, choices: Choices) -> Setup:
    """Loads a run and those that are averaged with it; the settings are the first run's, with overrides.

    Raises FileNotFoundError for incomplete runs. Raises ValueError for a run that is named twice, weights of another
    network, members that answer other regions, overrides that name no setting of prediction, and a decoding that was
    tuned for other weights or would overrule a threshold among the overrides.
    """
    _check_distinct([run, *choices.also])
    members = load_members([run, *choices.also])
    config = _settings(members[0], choices.overrides)
    weights = member_weights(choices.region_weights, members)
    tuned = _decoding_file(members, choices.decoding)
    if tuned is not None:
        _check_decoding(tuned, members, choices.overrides)
    own = [member.run for member in members]
    plan = decoding_plan(members[0].target, config.predict, tuned, own, members[0].config.data)
    return Setup(members, config, weights, plan, tuned)


def _check_distinct(runs: Sequence[Path]) -> None:
    """Raises ValueError for a run that is named twice, and so would count twice in the average."""
    for number, run in enumerate(runs):
        if Path(run).resolve() in [Path(earlier).resolve() for earlier in runs[:number]]:
            raise ValueError(
                f"--also: {run} is named twice; name each run once, and weigh it with --region-weights if it is to "
                "count more"
            )


def _settings(member: Member, overrides: Sequence[str]) -> Config:
    try:
        return overridden(member.config, overrides, sections=(*CHANGEABLE, *OF_FILES))
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _decoding_file(members: Sequence[Member], chosen: str | Path | None) -> Path | None:
    """Returns the file to decode with, None for the default.

    A single run's own decoding.json counts without being chosen; for an average it was not tuned.
    """
    if chosen == "default":
        return None
    if chosen is not None:
        return Path(chosen)
    own = members[0].run.decoding
    return own if len(members) == 1 and own.is_file() else None


def _check_decoding(tuned: Path, members: Sequence[Member], overrides: Sequence[str]) -> None:
    thresholds = [word for word in overrides if word.partition("=")[0].strip() == "--predict.threshold"]
    if thresholds:
        raise ValueError(
            f"{thresholds[-1]}: {tuned} has the thresholds of this prediction, so this one would not count; change "
            "them there, or take --decoding default"
        )
    check_tuned_for(tuned, [member.weights_sha256 for member in members])
