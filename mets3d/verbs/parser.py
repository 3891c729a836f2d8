"""The parser of one verb's arguments, which can take overrides of a configuration beside them."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any


class VerbParser(argparse.ArgumentParser):
    """A verb's arguments; where it takes overrides, words like `--section.key=value` become `overrides`."""

    override: re.Pattern[str] | None = None

    def takes_overrides(self, meaning: str, *, also: Sequence[str] = ()) -> None:
        """Lets the verb take `--section.key=value`, and the keys `also`, which have no section."""
        keys = "|".join([r"\w+\.[\w.]+", *also])
        self.override = re.compile(f"--({keys})(=.*)?", re.DOTALL)
        self.set_defaults(overrides=[])
        self.epilog = f"--SECTION.KEY=VALUE ...  {meaning}"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        overrides = [word for word in words if self.override and self.override.fullmatch(word)]
        for word in overrides:
            if "=" not in word:
                self.error(f"{word}: a value is missing; expected {word}=VALUE, as one word")
        options, unknown = super().parse_known_args([word for word in words if word not in overrides], namespace)
        if overrides:
            options.overrides = overrides
        return options, unknown
