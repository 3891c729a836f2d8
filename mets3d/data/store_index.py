"""Writes what makes a folder of cases a store: fingerprint and index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mets3d.data.case_record import Record, as_json, write_marked
from mets3d.data.cases import Case, excluded_cases, find_cases
from mets3d.data.fingerprint import collect
from mets3d.data.not_usable import reason_of
from mets3d.data.plan import Plan
from mets3d.data.store import FINGERPRINT, INDEX, UNFINISHED
from mets3d.data.store_source import content_hash, recipe, store_source
from mets3d.data.stored_case import case_path, read_metadata
from mets3d.data.storing import Making


def finish(making: Making, cases: Sequence[Case], records: Mapping[str, Record]) -> bool:
    """Writes the fingerprint and, last, the index that makes the folder a store of the cases that could be stored.

    Returns whether anything is new.
    """
    store, stored = making.store, [case for case in cases if records[case.name].stored]
    metadata = {case.name: read_metadata(case_path(store, case.name)) for case in stored}
    rows = {name: entry["fingerprint"] for name, entry in metadata.items()}
    write_marked(store / FINGERPRINT, as_json(collect(rows)))
    made_from = recipe(making.settings, making.data)
    plan = Plan(
        making.data.sequences,
        making.spacing_mm,
        margin_voxels=making.settings.margin_voxels,
        intensities=making.intensities,
        brain=making.settings.brain,
        cavity=making.data.cavity,
        settings_hash=made_from["settings_hash"],
        cases=tuple(metadata),
    )
    described = {
        case.name: {
            "patient": case.patient,
            "shape": metadata[case.name]["entry"]["stored_shape"],
            **_missing(metadata[case.name]["entry"]["missing"]),
            "lesions": {region: len(sizes) for region, sizes in rows[case.name]["lesion_volumes_mm3"].items()},
        }
        for case in stored
    }
    source = store_source(making.folder, making.data, [records[case.name].source for case in cases])
    index = {
        **made_from,
        "spacing_mm": making.spacing_mm,
        "intensities": making.intensities.as_json(),
        "source": source,
        "source_hash": content_hash(source["files"]),
        "plan": plan.as_json(),
        "cases": described,
        "left_out": _left_out(making, [case.name for case in cases]),
        "not_usable": {name: reason_of(record.findings) for name, record in records.items() if not record.stored},
    }
    before = (store / INDEX).read_bytes() if (store / INDEX).is_file() else b""
    write_marked(store / INDEX, as_json(index))
    (store / UNFINISHED).unlink(missing_ok=True)
    return (store / INDEX).read_bytes() != before


def _left_out(making: Making, names: Sequence[str]) -> list[str]:
    """Lists the cases without a reference and the excluded ones; files about patients or folds may name them."""
    cases = find_cases(making.folder, making.data)
    return sorted({*(case.name for case in cases), *excluded_cases(cases)} - {*names})


def _missing(sequences: Sequence[str]) -> dict[str, list[str]]:
    """Returns what the index says of the sequences that a case lacks: nothing where it lacks none."""
    return {"missing": list(sequences)} if sequences else {}
