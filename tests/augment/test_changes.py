"""Every change is drawn from a stream of its own and applied to its own sample alone."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from mets3d import augment
from mets3d.augment import changes
from mets3d.augment.changes import ARTEFACTS, INTENSITY, MISSING, SPATIAL, Drawn, Stream
from mets3d.augment.intensity import Brightness, Contrast
from mets3d.augment.movement import Movement
from mets3d.augment.spatial import Mirror
from mets3d.config import Augment
from mets3d.data.loader import generator
from mets3d.settings.augment import INTENSITIES, MOVEMENTS
from tests.builders.batches import augmented, random_batch

ALWAYS = Augment(scale_per_axis=1, **dict.fromkeys((*MOVEMENTS, *INTENSITIES), 1))


def streams(count: int) -> list[Stream]:
    """The streams of some samples, as the loader hands them over."""
    return [partial(generator, 3, step, 1) for step in range(count)]


def test_nothing_drawn_changes_nothing() -> None:
    image, labels = random_batch()
    changed, kept = augmented(image, labels, [Drawn(), Drawn()])
    assert torch.equal(changed, image)
    assert torch.equal(kept, labels)


@pytest.mark.parametrize("shape", [(8, 10, 6), (7, 9, 11)])
def test_a_batch_is_its_samples(shape: tuple[int, int, int]) -> None:
    image, labels = random_batch(shape=shape)
    draw = augment.build(ALWAYS, sequences=4)
    drawn = [draw(stream) for stream in streams(2)]
    before = image.clone()
    together = augmented(image, labels, drawn)
    assert torch.equal(image, before), "what is handed in stays"
    for index in range(2):
        alone = augmented(image[index : index + 1], labels[index : index + 1], drawn[index : index + 1])
        assert torch.equal(together[0][index], alone[0][0])
        assert torch.equal(together[1][index], alone[1][0])
    mixed = augmented(image, labels, [Drawn(), drawn[1]])
    assert torch.equal(mixed[0][0], image[0])
    assert torch.equal(mixed[0][1], together[0][1])


def test_changes_of_the_image_leave_labels_and_what_is_no_brain() -> None:
    image, labels = random_batch()
    image[1, 2] = 0  # a sequence that the case lacks
    drawn = [augment.build(Augment(preset="none", **dict.fromkeys(INTENSITIES, 1)), sequences=4)(streams(1)[0])] * 2
    changed, kept = augmented(image, labels, drawn)
    assert len(drawn[0].intensity) == len(INTENSITIES)
    assert torch.equal(kept, labels)
    assert torch.equal(changed != 0, image != 0), "all but 0 outside the brain, in every sequence that is there"
    assert changed.isfinite().all()
    assert (changed - image)[0].flatten(1).abs().amax(1).min() > 0.1


def test_changes_are_applied_in_order() -> None:
    drawn = augment.build(ALWAYS, sequences=4)(streams(1)[0])
    assert [type(change).__name__ for change in drawn.spatial] == ["Mirror", "Elastic", "Rotation", "Scaling"]
    assert [type(change).__name__ for change in drawn.intensity] == [
        "Noise", "Blur", "Brightness", "Contrast", "LowResolution", "GammaInverted", "BrightnessShift", "Gamma",
        "BiasField",
    ]  # fmt: skip


@dataclass(frozen=True)
class MadeUp:
    """A change of tomorrow that draws many numbers."""

    offsets: tuple[float, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, sequences: int, noise_std: float) -> MadeUp:
        return cls(tuple(rng.normal(size=17 * sequences) * noise_std))

    def added_to(self, movement: Movement) -> Movement:
        return movement

    @classmethod
    def apply(cls, changes: Mapping[int, MadeUp], image: Tensor, brain: Tensor) -> Tensor:
        return image


def with_the_made_up_one(monkeypatch: pytest.MonkeyPatch, family: str, streams: list[Stream]) -> list[Drawn]:
    """What is drawn where the made-up change comes first in a family, without that change's own draws."""
    monkeypatch.setattr(changes, family, {"made_up": MadeUp, **getattr(changes, family)})
    monkeypatch.setattr(changes, "ORDER", ("made_up", *changes.ORDER))
    draw = augment.build(Augment(), sequences=4)
    found = []
    for drawn in map(draw, streams):
        rest = [
            tuple(change for change in kind if not isinstance(change, MadeUp))
            for kind in (drawn.spatial, drawn.intensity)
        ]
        assert sum(map(len, rest)) == len(drawn.spatial) + len(drawn.intensity) - 1
        found.append(Drawn(*rest))
    return found


@pytest.mark.parametrize("family", ["SPATIAL", "INTENSITY", "ARTEFACTS"])
def test_one_more_change_shifts_no_other_draw(monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    before = list(map(augment.build(Augment(), sequences=4), streams(50)))
    assert with_the_made_up_one(monkeypatch, family, streams(50)) == before


def test_one_stream_for_all_would_shift_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def shared(key: int) -> Stream:
        rng = np.random.default_rng(key)
        return lambda name: rng

    before = list(map(augment.build(Augment(), sequences=4), map(shared, range(50))))
    assert with_the_made_up_one(monkeypatch, "SPATIAL", list(map(shared, range(50)))) != before


def test_names_have_different_streams() -> None:
    settings = Augment(brightness=1, contrast=1)
    assert settings.brightness_range == settings.contrast_range, "from equal streams the factors would be equal"
    for drawn in map(augment.build(settings, sequences=4), streams(20)):
        factors = [change.factors for change in drawn.intensity if isinstance(change, Brightness | Contrast)]
        assert len(set(sum(factors, ()))) == 8


def test_a_probability_does_not_change_what_is_drawn() -> None:
    rare, often = (
        list(map(augment.build(Augment(rotation=p, scaling=0), sequences=4), streams(300))) for p in (0.2, 0.6)
    )
    seen = 0
    for one, two in zip(rare, often, strict=True):
        assert one.intensity == two.intensity
        assert set(one.spatial) <= set(two.spatial)
        seen += len(two.spatial) > len(one.spatial)
    assert seen / 300 == pytest.approx(0.4, abs=0.1)


def test_each_setting_belongs_to_one_change_and_each_change_has_its_settings() -> None:
    families = SPATIAL | INTENSITY | ARTEFACTS | MISSING
    assert len(families) == sum(map(len, (SPATIAL, INTENSITY, ARTEFACTS, MISSING))), (
        "a name would have one stream twice"
    )
    arguments = [key for change in families.values() for key in [*inspect.signature(change.draw).parameters][1:]]
    own = sorted(key for key in arguments if key not in ("sequences", "parents"))
    settings = set(Augment.model_fields) - {"enabled", "preset", "copy_paste"}
    assert own == sorted([*settings, "gamma_range"]), "that one range is of two changes"


def test_the_draw_travels_to_a_worker() -> None:
    for settings in (ALWAYS, Augment(enabled=False)):
        draw: Callable[[Stream], Drawn] = augment.build(settings, sequences=4)
        assert pickle.loads(pickle.dumps(draw))(streams(1)[0]) == draw(streams(1)[0])


def test_switched_off_draws_nothing() -> None:
    assert augment.build(Augment(enabled=False), sequences=4)(streams(1)[0]) == Drawn()


def test_a_mirror_of_no_axis_is_no_change() -> None:
    assert Mirror.draw(np.random.default_rng(0), mirror=0.0) is None


@dataclass(frozen=True)
class Misspelt:
    """A change whose draw has a parameter that no setting is named like."""

    @classmethod
    def draw(cls, rng: np.random.Generator, noise_sdt: float = 0.1) -> None:
        raise AssertionError("never drawn")


def test_a_parameter_without_a_setting_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARTEFACTS, "misspelt", Misspelt)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="augmentation misspelt: no place in ORDER"):
        augment.build(Augment(), sequences=4)
    monkeypatch.setattr(changes, "ORDER", (*changes.ORDER, "misspelt"))
    with pytest.raises(TypeError, match=r"augmentation misspelt: Misspelt.draw has a parameter noise_sdt"):
        augment.build(Augment(), sequences=4)
