"""Makes the lines of tables of lesions: of one case on its page, of all cases on the index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mets3d.evaluation.tables import Row
from mets3d.regions import Region
from mets3d.reporting.sentences import number

# Kinds by how much a reader wants to see them, with the words of the page.
KINDS = {"missed": "missed", "false": "false", "found": "found", "ignored": "too small to count"}
PLACE = ("x_mm", "y_mm", "z_mm")  # columns of lesions.csv; scanner coordinates where it has voxels i, j, k too


@dataclass(frozen=True)
class LesionLine:
    """One lesion of one case: `anchor` is where its case's page jumps to it; numbers as they stand in the table.

    mm: right, anterior, superior of its middle; empty where the table does not say.
    """

    case: str
    arm: str
    region: str
    number: int
    kind: str
    anchor: str
    volume_mm3: float | None
    volume: str
    dice: str
    mm: tuple[float, ...]

    @property
    def name(self) -> str:
        """Returns region and number, as in ET 3."""
        return f"{self.region} {self.number}"

    @property
    def wrong(self) -> bool:
        """Returns whether the lesion counts as an error."""
        return self.kind in ("missed", "false")

    @property
    def kind_in_words(self) -> str:
        """Returns the kind as the page calls it."""
        return KINDS[self.kind]

    @property
    def place(self) -> str:
        """Returns the coordinates as they stand in the table, a dash where they are unknown."""
        return place_text(self.mm)

    @property
    def spoken_mm(self) -> str:
        """Returns the coordinates for the viewer."""
        return " ".join(f"{value:.3f}" for value in self.mm)


def lesion_lines(rows: Iterable[Row], regions: Sequence[Region], *, arm: str = "", place: int = 0) -> list[LesionLine]:
    """Returns the lines of rows of lesions.csv, the most telling first.

    `place` is that of the arm among several, from 0. Rows of kinds, or with numbers, that are none are left out.
    """
    known = {region.name for region in regions}
    lines = [_line(row, arm, place) for row in rows if row["region"] in known and _is_lesion(row)]
    return most_telling_first(lines, regions)


def most_telling_first(lines: Iterable[LesionLine], regions: Sequence[Region]) -> list[LesionLine]:
    """Sorts lines: missed, false, found, too small; in each the innermost region, then the largest lesion first."""
    kinds, depth = list(KINDS), {region.name: place for place, region in enumerate(reversed(regions))}
    return sorted(
        lines,
        key=lambda line: (
            kinds.index(line.kind), depth[line.region], -(line.volume_mm3 or 0.0), line.case, line.number
        ),
    )  # fmt: skip


def _is_lesion(row: Row) -> bool:
    return row["kind"] in KINDS and str(row["lesion"]).isdecimal()


def _line(row: Row, arm: str, place: int) -> LesionLine:
    volume = row.get("prediction_volume_mm3" if row["kind"] == "false" else "reference_volume_mm3")
    known = row.get("i") is not None  # tables of earlier versions have other coordinates in these columns
    mm = tuple(float(row[column]) for column in PLACE if known and row.get(column) is not None)
    region, lesion = row["region"], int(row["lesion"])
    dice = number(row.get("dice"), 3) if row["kind"] == "found" else "–"
    return LesionLine(
        row["case"], arm, region, lesion, row["kind"], lesion_anchor(region, lesion, place), volume,
        number(volume, 1), dice, mm if len(mm) == len(PLACE) else (),
    )  # fmt: skip


def place_text(mm: Sequence[float]) -> str:
    """Writes coordinates to a tenth of a millimetre, a dash where there are none."""
    return ", ".join(number(value, 1) for value in mm) or "–"


def lesion_anchor(region: str, lesion: int, place: int = 0) -> str:
    """Returns the end of the address of a lesion on its case's page, as in lesion-ET-3; of a second arm lesion-2-ET-3.

    Arms number their lesions each for itself.
    """
    return f"lesion-{place + 1}-{region}-{lesion}" if place else f"lesion-{region}-{lesion}"
