"""Finds out whether a run can begin: its network and loss can be built, its store and its fold are there."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mets3d.config import Config, Data, Loss, Model, Preprocess


def faults_of(config: Config) -> list[str]:
    """Lists what would keep a training with these settings from its first step. Nothing is trained or written."""
    data, model = config.data.model_dump_json(), config.model.model_dump_json()
    network, loss = _network_faults(data, model), _loss_faults(data, model, config.loss.model_dump_json())
    return [*_data_faults(data, config.preprocess.model_dump_json()), *network, *loss, *_absent_files(config)]


@cache
def _data_faults(data: str, preprocess: str) -> list[str]:
    from mets3d.data.folds import split_of
    from mets3d.data.store import open_store

    settings = Data.model_validate_json(data)
    expected = (Preprocess.model_validate_json(preprocess), settings)
    try:
        split_of(open_store(Path(settings.store), expected=expected, source_may_change=True), settings)
    except (ValueError, OSError) as error:
        return [str(error)]
    return []


@cache
def _network_faults(data: str, model: str) -> list[str]:
    import torch

    from mets3d import models
    from mets3d.regions import Target

    settings, of_data = Model.model_validate_json(model), Data.model_validate_json(data)
    try:
        with torch.device("meta"):  # shapes alone: no memory is taken and no weight drawn
            models.build(
                settings.model_copy(update={"vit_pretrained": None}),
                in_channels=len(of_data.sequences),
                target=Target(of_data.target, of_data.cavity),
                patch=of_data.patch,
            )
    except (ValueError, OSError) as error:
        return [f"the network cannot be built: {error}"]
    return []


@cache
def _loss_faults(data: str, model: str, loss: str) -> list[str]:
    from mets3d import losses
    from mets3d.regions import Target

    of_data, queries = Data.model_validate_json(data), Model.model_validate_json(model).has_queries
    try:
        target = Target(of_data.target, of_data.cavity)
        losses.build(Loss.model_validate_json(loss), target=target, steps=1, queries=queries)
    except (ValueError, OSError) as error:
        return [f"the loss cannot be built: {error}"]
    return []


def _absent_files(config: Config) -> list[str]:
    files = {"weights": config.weights, "model.vit_pretrained": config.model.vit_pretrained}
    return [f"{key}: {file}: no such file" for key, file in files.items() if file and not Path(file).exists()]
