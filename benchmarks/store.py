"""Compares the store's format with blosc2, as nnU-Net 2.6 and later keep their cases, and with Zarr 3 in shards.

    .venv/bin/python benchmarks/store.py [--shape 240x240x155] [--spacing 1 1 1] [--patch 128] [--rounds 9]

One phantom is prepared, and every format stores the same float16 image [4, X, Y, Z] and uint8 labels. Measured are
bytes on disk, seconds to write, and seconds to read a patch of both at random places: warm, and cold, for which the
system is told to forget the file's pages first (`posix_fadvise`, so on Linux alone). Contestants take turns. blosc2 and
zarr are no dependencies: `pip install blosc2==4.14.1 zarr==3.1.6`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import print_table, ratios, save, shape_name, shape_of, shown, spread

from mets3d.data.nifti import Grid, ImageVolume, LabelVolume
from mets3d.data.prepare import prepare
from mets3d.data.stored_case import StoredCase, case_path, write_case
from mets3d.phantoms.synth import phantom

BLOCK_BYTES, CHUNK_BYTES = 128 * 1024, 6 * 2**20  # nnU-Net's, sized for two levels of a processor's cache
INNER, SHARD = 32, 128  # voxels of a Zarr chunk and of a shard, per axis

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Contestant:
    """A format: writes a case into a folder and reads a box of image and labels from it."""

    write: Callable[[Path, np.ndarray, np.ndarray], None]
    read: Callable[[Path, Box], tuple[np.ndarray, np.ndarray]]


def main() -> None:
    options = _options()
    image, labels = _prepared(options.shape, tuple(options.spacing))
    patch = tuple(min(size, n) for size, n in zip(options.patch, image.shape[1:], strict=True))
    rng = np.random.default_rng(0)
    boxes = [_box(rng, image.shape[1:], patch) for _ in range(options.patches)]
    folder = Path(tempfile.mkdtemp(prefix="store-", dir=options.folder))
    contestants = {"safetensors": OURS, "blosc2": BLOSC2, "Zarr 3": ZARR}
    try:
        measured = _measure(contestants, folder, image, labels, boxes, options.rounds)
    finally:
        shutil.rmtree(folder)
    _show(measured, image.shape, patch, options)


def _measure(
    contestants: dict[str, Contestant],
    folder: Path,
    image: np.ndarray,
    labels: np.ndarray,
    boxes: list[Box],
    rounds: int,
) -> dict[str, dict[str, list[float]]]:
    """Times each contestant in each round; the first round checks what is read and is not counted."""
    seconds: dict[str, dict[str, list[float]]] = {name: {} for name in contestants}
    for turn in range(rounds + 1):
        for name, contestant in contestants.items():
            place = folder / f"{name}-{turn}"
            place.mkdir()
            row = {"write_s": _timed(contestant.write, place, image, labels)}
            os.sync()
            row["bytes"] = float(sum(file.stat().st_size for file in place.rglob("*") if file.is_file()))
            _forget(place)
            row["cold_s"] = _timed(contestant.read, place, boxes[turn % len(boxes)])
            for box in boxes:  # the pages are in memory now
                contestant.read(place, box)
            row["warm_s"] = float(np.median([_timed(contestant.read, place, box) for box in boxes]))
            if turn == 0:
                _check(contestant.read(place, boxes[0]), image, labels, boxes[0])
            else:
                for key, value in row.items():
                    seconds[name].setdefault(key, []).append(value)
            shutil.rmtree(place)
    return seconds


def _timed(run: Callable[..., Any], *arguments: Any) -> float:
    start = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - start


def _forget(place: Path) -> None:
    """Tells the system to drop what it holds of these files."""
    for file in place.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _check(read: tuple[np.ndarray, np.ndarray], image: np.ndarray, labels: np.ndarray, box: Box) -> None:
    np.testing.assert_array_equal(read[0], image[(slice(None), *box)])
    np.testing.assert_array_equal(read[1], labels[box])


# ---------------------------------------------------------------- formats


def _write_ours(place: Path, image: np.ndarray, labels: np.ndarray) -> None:
    write_case(case_path(place, "case"), image, labels, cavity=False, metadata={})


def _read_ours(place: Path, box: Box) -> tuple[np.ndarray, np.ndarray]:
    case = StoredCase("case", case_path(place, "case"))
    # Copied, as the loader does when it makes a batch: the slices themselves are views of memory that is not read yet.
    return case.image(box).clone().numpy(), case.labels(box).clone().numpy()


def _write_blosc2(place: Path, image: np.ndarray, labels: np.ndarray) -> None:
    import blosc2

    codec = {"codec": blosc2.Codec.LZ4HC, "clevel": 5, "filters": [blosc2.Filter.SHUFFLE]}
    for name, array in (("image", image), ("labels", labels[None])):
        chunk, block = (_cube(array, size) for size in (CHUNK_BYTES, BLOCK_BYTES))
        blosc2.asarray(
            np.ascontiguousarray(array), chunks=chunk, blocks=block, cparams=codec, urlpath=str(place / f"{name}.b2nd")
        )


def _read_blosc2(place: Path, box: Box) -> tuple[np.ndarray, np.ndarray]:
    import blosc2

    blosc2.set_nthreads(1)  # as in a loader's worker, which has one core
    opened = [blosc2.open(str(place / f"{name}.b2nd"), mode="r", mmap_mode="r") for name in ("image", "labels")]
    return opened[0][(slice(None), *box)], opened[1][(0, *box)]


def _write_zarr(place: Path, image: np.ndarray, labels: np.ndarray) -> None:
    import zarr
    from zarr.codecs import BloscCodec

    for name, array in (("image", image), ("labels", labels[None])):
        inner = (1, *(min(INNER, n) for n in array.shape[1:]))
        shard = (1, *(-(-min(SHARD, n) // side) * side for n, side in zip(array.shape[1:], inner[1:], strict=True)))
        codec = BloscCodec(cname="lz4hc", clevel=5, shuffle="shuffle")
        zarr.create_array(place / name, data=array, chunks=inner, shards=shard, compressors=codec)


def _read_zarr(place: Path, box: Box) -> tuple[np.ndarray, np.ndarray]:
    import zarr

    image, labels = (zarr.open_array(place / name, mode="r") for name in ("image", "labels"))
    return np.asarray(image[(slice(None), *box)]), np.asarray(labels[(0, *box)])


OURS = Contestant(_write_ours, _read_ours)
BLOSC2 = Contestant(_write_blosc2, _read_blosc2)
ZARR = Contestant(_write_zarr, _read_zarr)


def _cube(array: np.ndarray, size: int) -> tuple[int, ...]:
    """Returns the shape of a block of one channel with about so many bytes and sides of one length."""
    side = max(1, int((size / array.itemsize) ** (1 / 3)))
    return (1, *(min(side, n) for n in array.shape[1:]))


# ---------------------------------------------------------------- data and table


def _prepared(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    patient = phantom(0, 0, shape, spacing_mm)
    affine = np.diag([*spacing_mm, 1.0])
    grid = Grid(shape, affine, spacing_mm, {})
    images = {
        name: ImageVolume(image.astype(np.float32), spacing_mm, affine, grid) for name, image in patient.images.items()
    }
    case = prepare(images, LabelVolume(patient.labels, spacing_mm, affine, grid), spacing_mm, 0, cavity=False)
    assert case.labels is not None
    return case.image, case.labels


def _box(rng: np.random.Generator, shape: tuple[int, ...], patch: tuple[int, ...]) -> Box:
    starts = [int(rng.integers(0, n - size + 1)) for n, size in zip(shape, patch, strict=True)]
    x, y, z = (slice(start, start + size) for start, size in zip(starts, patch, strict=True))
    return x, y, z


def _show(measured: dict[str, dict[str, list[float]]], stored: Any, patch: Any, options: argparse.Namespace) -> None:
    rows = []
    for name, row in measured.items():
        cells = [f"{row['bytes'][0] / 1e6:.1f}"]
        for key in ("write_s", "warm_s", "cold_s"):
            cells += [shown(spread(row[key]), 1000), shown(ratios(row[key], measured["safetensors"][key]))]
        rows.append([name, *cells])
    header = ["format", "MB", "write ms", "ours faster by", "warm ms", "ours faster by", "cold ms", "ours faster by"]
    print_table(f"stored {stored}, patch {patch}", header, rows)
    result = {name: {key: spread(values) for key, values in row.items()} for name, row in measured.items()}
    save("store", shape_name(options.shape), {"stored": list(stored), "formats": result}, torch.device("cpu"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=shape_of, default=(240, 240, 155))
    parser.add_argument("--spacing", type=float, nargs=3, default=(1.0, 1.0, 1.0))
    parser.add_argument("--patch", type=shape_of, default=(128, 128, 128))
    parser.add_argument("--patches", type=int, default=9, help="random places in a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where to write; a real disk, not a file system in memory")
    return parser.parse_args()


if __name__ == "__main__":
    main()
