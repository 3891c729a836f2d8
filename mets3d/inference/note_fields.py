"""Lists every field of predict.json with its unit and meaning: what is said of the label maps in a folder."""

from __future__ import annotations

from mets3d.columns import Column

NOTE_FIELDS = (
    Column("run", "folder of the first run that predicts"),
    Column("data", "data set that was predicted"),
    Column("weights_sha256", "SHA-256 of that run's weights"),
    Column("overlap", "share of a window's side that the next one overlaps, `predict.overlap`"),
    Column("threshold", "`predict.threshold`, for regions without a tuned one"),
    Column("mirror", "axes over which mirrored predictions are averaged, `predict.mirror`"),
    Column("query_classes", "how class probabilities of queries count, `predict.query_classes`"),
    Column("precision", "of the forward pass: `no` (fp32), `bf16` or `fp16`"),
    Column("channels", "regions or labels of the probabilities, in the order of their channels"),
    Column("members", "all runs that are averaged, each with `run` and `weights_sha256`"),
    Column("region_weights", "by region, the weight of each member's probability in the average"),
    Column(
        "decoding",
        "by region, how new cases are decoded: `threshold` of the probability, `peak` that a component must reach, "
        "`min_volume_mm3` of a component, `largest_only`, `fill_holes`",
    ),
    Column("decoding_from", "file that these settings are from, or `default`"),
    Column("decoding_rules", "rule set of the tuning that chose them; empty without one"),
    Column("decoding_forced", "regions whose settings were written though cross-validation does not support them"),
    Column("held_out", "whether the held-out cases of the runs were asked for"),
    Column(
        "decoded",
        "by case, where it is not decoded as `decoding` says: how that came about (`decoding`) and its settings "
        "(`regions`)",
    ),
    Column("recipe", "digest of all that decides the label maps; a case with another one is predicted anew"),
    Column("asked", "cases that are to be predicted into the folder, those of earlier calls included"),
    Column("cases", "cases of the last call whose files are there"),
    Column("failures", "by case, why there is none"),
)
