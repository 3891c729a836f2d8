"""Names what a finding is about where it is about no single case."""

from __future__ import annotations

WHOLE_SET = "all cases"  # in the place of a case's name where a finding is about the whole data set
