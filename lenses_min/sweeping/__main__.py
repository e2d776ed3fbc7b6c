"""One job of a sweep: `python -m lenses_min.sweeping JOB`, a JSON object. It ends with who holds its standard input."""

import json
import logging
import os
import sys
import threading
from pathlib import Path

from .. import cli
from ..options import RunOptions


def end_with_parent() -> None:
    """Nothing is ever written there; the end of the pipe is the end of the sweep, killed or not."""
    os.read(0, 1)
    os._exit(130)


def main() -> int:
    job = json.loads(sys.argv[1])
    threading.Thread(target=end_with_parent, daemon=True).start()
    cli.talk(logging.INFO if job["verbose"] else logging.WARNING)
    options = RunOptions.from_job(job["options"])
    return (
        cli.self_test(options)
        if job["self_test"]
        else cli.perform(options, False, Path(job["folder"]))
    )


sys.exit(main())
