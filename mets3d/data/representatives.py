"""Chooses a few cases that stand for many: spread evenly over the lesion burden."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mets3d.data.folds import Burden


def representatives(cases: Sequence[str], amount: int | None, burdens: Mapping[str, Burden]) -> list[str]:
    """Returns `amount` of the cases, sorted by name; all of them for None, or where there are no more.

    The cases are ordered by burden: their share of all lesions plus their share of the lesions' volume, those alike by
    name. The order is parted into `amount` groups of sizes as equal as can be, and the middle case of each is taken. So
    cases without a lesion, with few small ones and with many are there as often as among all, and the choice depends on
    names and burdens alone. A case without a burden has none.
    """
    names = sorted(cases)
    if amount is None or amount >= len(names):
        return names
    own = {name: burdens.get(name, (0, 0.0)) for name in names}
    lesions, volume_mm3 = (math.fsum(burden[part] for burden in own.values()) or 1.0 for part in (0, 1))
    ordered = sorted(names, key=lambda name: (own[name][0] / lesions + own[name][1] / volume_mm3, name))
    return sorted(ordered[(2 * group + 1) * len(names) // (2 * amount)] for group in range(amount))
