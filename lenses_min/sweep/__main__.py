"""One job of a sweep: `python -m lenses_min.sweep JOB`, a JSON object. It ends when its standard input closes."""

import json
import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..options import RunOptions
from ..process import configure_logging
from .job import perform as run
from .job import self_test, share


def end_with_parent() -> None:
    """Exit when standard input closes: nothing is written to it, and it closes when the sweep ends, killed or not."""
    os.read(0, 1)
    os._exit(130)


def perform(job: Mapping[str, Any]) -> int:
    """One run, or its self-test, under the job's options and into its folder; the exit status of that run."""
    options = RunOptions.from_job(job["options"])
    with configure_logging(logging.INFO if job["verbose"] else logging.WARNING):
        if job["self_test"]:
            return self_test(options)
        if job["share"]:
            return share(options, Path(job["folder"]), *job["share"])
        return run(options, False, Path(job["folder"]))


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.exit(perform(json.loads(sys.argv[1])))
