"""`lenses-min cache [--clear]`: where the user's cache is and how large, or its removal."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from ..errors import LensError


def add(commands: Any) -> None:
    command = commands.add_parser(
        "cache",
        help="kept .gguf conversions, lenses and captures: where, how large; or remove them",
    )
    command.add_argument("--clear", action="store_true", help="remove all of it")
    command.set_defaults(perform=run)


def run(args: argparse.Namespace) -> int:
    """Exit status: 0, or 1 where the folder cannot be removed."""
    from .report import refused

    place = folder()
    size = f"{size_of(place) / 1e6:.0f} MB"
    if not args.clear:
        print(f"{place}: {size}")
        return 0
    try:
        if place.is_dir():
            shutil.rmtree(place)
    except OSError as error:
        return refused(LensError(f"cannot empty {place}: {error.strerror}; remove it by hand"))
    print(f"{place}: removed {size}")
    return 0


def folder() -> Path:
    """Where conversions of `.gguf` files, the demo's lens, and captures of histories are kept."""
    import platformdirs

    return platformdirs.user_cache_path("lenses-min")


def size_of(place: Path) -> int:
    """Bytes of all files of a folder, 0 where there is none."""
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
