"""Holds the settings of what is logged, and where."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from mets3d.settings.kinds import Section

# W&B takes no longer ones.
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64)]
GroupName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Track(Section):
    """What is logged, and where."""

    wandb: Literal["auto", "offline", "disabled"] = Field(
        "auto", description="auto: online if WANDB_API_KEY is set, else offline; disabled: W&B is not touched"
    )
    project: str = Field("mets3d", description="W&B project")
    group: GroupName | None = Field(
        None, description="the study that the run belongs to in W&B; none: its sweep, or network and loss"
    )
    tags: tuple[Tag, ...] = Field((), description="more tags in W&B, beside network, loss, fold and seed")
    also: tuple[Literal["tensorboard", "trackio"], ...] = Field(
        (), description="loggers beside W&B, from the extras of these names: pip install mets3d[tensorboard]"
    )
    page: bool = Field(
        False, description="write the run's page, RUN/report/index.html, anew at each validation, in another process"
    )
    images: int = Field(4, ge=0, description="validation slices with masks that loggers and page get; 0: none")
    weights: bool = Field(False, description="send the best and the last weights to W&B at the end, as an artefact")
    profile: int = Field(0, ge=0, description="optimizer steps to trace; `--profile` alone is 5, 0: none")
    console_every: int = Field(10, gt=0, description="optimizer steps between console lines when not on a terminal")

    @model_validator(mode="after")
    def _each_once(self) -> Track:
        for name, words in {"tags": self.tags, "also": self.also}.items():
            if len(set(words)) != len(words):
                raise ValueError(f"{name} is [{', '.join(words)}]; expected each once")
        return self
