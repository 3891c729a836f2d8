"""What the network sees follows from preset, single values and key, from the command line to the device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

import train as script
from mets3d.config import load, load_file
from mets3d.data.loader import batches
from mets3d.training.augmented import augmented
from mets3d.training.session import open_session
from mets3d.training.step import prepared
from tests.builders.runs import forget_accelerator, write_config

CPU = torch.device("cpu")


@pytest.fixture
def accelerator() -> Iterator[Accelerator]:
    forget_accelerator()
    yield Accelerator(cpu=True)
    forget_accelerator()


def test_a_preset_and_a_single_value_reach_the_step_and_the_saved_configuration(
    tmp_path: Path, phantom_store: Path, accelerator: Accelerator
) -> None:
    file = write_config(tmp_path, phantom_store, data={"patch": [16, 20, 12]}, loss={"boundary": "blob"})
    words = ["--config", "base", "--config", str(file), "--augment.preset=brats_regions", "--augment.elastic=1"]
    config = load([*words, "--model.strides=[[2, 2, 2], [2, 2, 1]]"])
    assert (config.augment.elastic, config.augment.rotation_degrees) == (1, 90)
    job = script.compose(config, accelerator)
    with open_session(job, accelerator) as session:
        assert load_file(job.run.config) == config
        (micro_batches,) = batches(job.samples, steps=range(3, 4), batch_size=4)
        (inputs,), _ = prepared(session, 3, micro_batches)
    for index in range(4):  # each sample again, from its key alone
        batch = script.compose(load_file(job.run.config), accelerator).samples.batch([(3, index)])
        assert batch.drawn[0].movement.elastic is not None
        image, labels, lesions = augmented(batch, job.samples.patch, CPU)
        assert torch.equal(inputs.image[index], image[0])
        assert torch.equal(inputs.target[index], torch.stack(job.target.masks(labels[0])))
        assert inputs.lesions is not None
        assert lesions is not None
        assert torch.equal(inputs.lesions.numbers[index], lesions.numbers[0])
        assert torch.equal(lesions.numbers[0] > 0, inputs.target[index]), "numbers move as the labels do"
    assert inputs.image.shape == (4, 4, 16, 20, 12)
