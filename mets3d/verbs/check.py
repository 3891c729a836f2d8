"""Shows everything that is wrong or odd about a data set: `mets3d check`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mets3d.console import progress_of
from mets3d.verbs.case_folders import chosen_jobs
from mets3d.verbs.configuration import configuration
from mets3d.verbs.parser import VerbParser, output_file

SUMMARY = "show everything that is wrong or odd about a data set; exit 1 if a case cannot be used"
ORDER = 20


def arguments(parser: VerbParser) -> None:
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with cases at any depth")
    parser.add_argument("--json", type=output_file, metavar="FILE", help="write the findings there too")
    parser.takes_data_settings()
    parser.takes_jobs(by_memory=True)


def run(options: argparse.Namespace) -> int:
    from mets3d.data.check import check
    from mets3d.files import write_json
    from mets3d.settings import READING

    config = configuration(options, sections=(*READING, "preprocess.brain"))
    jobs = chosen_jobs(options.jobs, options.data, config.data)
    report = check(options.data, progress_of("check"), data=config.data, brain=config.preprocess.brain, jobs=jobs)
    print(report.table())
    if options.json is not None:
        write_json(options.json, report.as_json())
    return 1 if report.unusable else 0
