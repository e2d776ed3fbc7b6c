"""`lenses-min doctor [MODEL…]`: versions, devices, memory, caches, and which model would run where."""

import argparse
from collections.abc import Iterator
from typing import Any

OPTIONAL = {
    "ray": "sweeps over machines",
    "accelerate": "models over several GPUs",
    "hf-xet": "quicker downloads",
}
GIB = 2**30
WIDTH = 160  # columns where the output is no terminal
NOWHERE = "nowhere here"


def add(commands: Any) -> None:
    command = commands.add_parser(
        "doctor", help="versions, devices, memory, and what would run where"
    )
    command.set_defaults(perform=run)
    names = "as run takes them (default: the list of a sweep that names none)"
    command.add_argument("models", nargs="*", metavar="MODEL", help=names)


def run(args: argparse.Namespace) -> int:
    """Exit status: 0, or 1 where a model that is named would run on no device here."""
    from rich.console import Console
    from rich.table import Table

    from ..process import silence_transformers

    out = Console(markup=False)
    out.width = out.width if out.is_terminal else WIDTH
    facts_table, models = (
        Table(box=None, pad_edge=False, show_header=shown) for shown in (False, True)
    )
    for column in ("model", "parameters", "needs on cuda", "on mps", "on cpu", "would run now on"):
        models.add_column(column, overflow="fold")
    with silence_transformers():
        for fact in facts():
            facts_table.add_row(*fact)
        rows = [verdict(model) for model in args.models or listed()]
    for row in rows:
        models.add_row(*row)
    out.print(facts_table, "", models)
    return int(bool(args.models) and any(row[-1].startswith(NOWHERE) for row in rows))


def facts() -> Iterator[tuple[str, str]]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import psutil
    import torch

    from ..model.placement import available
    from ..output.manifest import versions
    from .cache import folder, size_of

    for name, number in versions().items():
        yield name, number
    yield "system", platform.platform()
    for name, use in OPTIONAL.items():
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, f"not installed ({use})"
    for i in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(i)
        yield f"cuda:{i}", f"{torch.cuda.get_device_name(i)}, {gib(free)} of {gib(total)} free"
    yield from [("cuda", "none")] * (not available("cuda"))
    yield "mps", "available, in the machine's memory" if available("mps") else "none"
    memory = psutil.virtual_memory()
    yield "cpu", f"{psutil.cpu_count()} cores, {gib(memory.available)} of {gib(memory.total)} free"
    yield "cache", f"{folder()}, {gib(size_of(folder()))}; lenses-min cache --clear empties it"


def listed() -> list[str]:
    from ..sweep.jobs import BUILT_IN, entries, read

    return [read(entry, number)["model"] for _, number, entry in entries(BUILT_IN)]


def verdict(model: str) -> tuple[str, ...]:
    """The placement's arithmetic for a model on every kind of device, absent ones too, and what comes of it."""
    from ..errors import LensError
    from ..model.estimate import needs, parameters
    from ..model.placement import OVERHEAD, available, free_memory
    from ..model.source import local_source
    from ..options import RunOptions

    try:
        local_source(model)
        options = RunOptions(model)
    except LensError as error:
        return model, "-", *["-"] * len(OVERHEAD), f"{NOWHERE}: {error}"
    if not (size := parameters(options)):
        return (
            model,
            "-",
            *["-"] * len(OVERHEAD),
            "unknown: neither its files here nor its name tell its size",
        )
    needed = {kind: needs(options, kind) for kind in OVERHEAD}
    here = {kind: max(free_memory(kind).values()) for kind in OVERHEAD if available(kind)}
    fits = next((kind for kind, free in here.items() if free > needed[kind]), NOWHERE)
    return model, f"{size / 1e9:.3g}B", *map(gib, needed.values()), fits


def gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
