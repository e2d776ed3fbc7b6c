"""Run the numerical tests under every setting that changes the order of floating-point sums: a line per configuration.

    python scripts/matrix.py [--short] INTERPRETER…

scripts/run_matrix.sh makes the interpreters and calls this script. The first interpreter runs every capability level
of the processor with one and with two threads, and with oneDNN and MKL limited to the instructions of an older
processor. Interpreters of other Python versions run the highest and the lowest level, and all other tests. CI runs
`--short`: golden and real model at the lowest level. Exit status: 0 all passed, 1 something failed or ran no test.

`tolerance` is the largest error of any number of any case as a share of its tolerance; over 100% is a mismatch.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LEVELS = ("default", "avx2", "avx512")  # values of ATEN_CPU_CAPABILITY, from low to high
CAPS: dict[str, Mapping[str, str]] = {
    "": {},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "SSE": {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"},
}
CHECK = ("-m", "spec", "check", "--json")
STEPS: dict[str, tuple[str, ...]] = {
    "golden": CHECK,
    "corrected": (*CHECK, "--contract", "corrected"),
    "property": ("-m", "pytest", "tests/property"),
    "real model": ("-m", "pytest", "tests/golden/test_real_model.py"),
    "the rest": ("-m", "pytest", "tests/unit", "tests/harness"),
}
NUMBERS = ("golden", "corrected", "property", "real model")
SHORT = ("golden", "real model")
PROBE = """
import platform, torch
print(platform.python_version(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
"""
COLUMNS = "{:<8} {:<8} {:>7} {:<5} {:>9} {:>9} {:>9} {:>10} {:>9} {:>9} {:>5}  {}"
HEADER = ("Python", "level", "threads", "cap", *NUMBERS, "the rest", "tolerance", "s", "taken by")


@dataclass(frozen=True)
class Configuration:
    """An interpreter, its capability level, number of threads, cap (a key of CAPS), and the steps to run."""

    interpreter: str
    level: str
    threads: int
    cap: str
    steps: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """Return the environment variables of a process of this configuration."""
        capability = {"ATEN_CPU_CAPABILITY": self.level} if self.level in LEVELS else {}
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(self.threads))
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
        quiet = {"TOKENIZERS_PARALLELISM": "false"}
        return {**os.environ, **offline, **quiet, **threads, **capability, **CAPS[self.cap]}


@dataclass(frozen=True)
class Result:
    """Result of a step: passed cases or tests, their total, the largest share of a tolerance, the failures."""

    passed: int
    total: int
    share: float = 0.0
    place: str = ""
    failures: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether a test or case ran and all of them passed."""
        return 0 < self.total == self.passed and not self.failures


def levels(native: str) -> list[str]:
    """Return the capability levels of a processor, from high to low; `native` is torch's default level."""
    name = native.lower()
    return [*reversed(LEVELS[: LEVELS.index(name) + 1])] if name in LEVELS else [name]


def configurations(
    interpreters: Sequence[str], native: str, short: bool
) -> Iterator[Configuration]:
    """Yield every configuration to run, by interpreter."""
    available = levels(native)
    first, *others = interpreters
    if short:
        yield Configuration(first, available[-1], 1, "", SHORT)
        return
    for level in available:
        for threads in (1, 2):
            yield Configuration(first, level, threads, "", NUMBERS)
    for level, cap in (("avx2", "AVX2"), ("default", "SSE")):
        if level in available:
            yield Configuration(first, level, 1, cap, NUMBERS)
    for interpreter in others:
        yield Configuration(interpreter, available[0], 1, "", (*NUMBERS, "the rest"))
        if len(available) > 1:
            yield Configuration(interpreter, available[-1], 1, "", NUMBERS)


def probe(interpreter: str, environment: Mapping[str, str]) -> tuple[str, str, str]:
    """Return the Python version, capability level and number of threads of an interpreter.

    Exits with an error where it cannot import torch.
    """
    process = subprocess.run(
        [interpreter, "-c", PROBE], capture_output=True, text=True, env=dict(environment)
    )
    if process.returncode:
        sys.exit(f"matrix.py: error: {interpreter} cannot import torch: {process.stderr.strip()}")
    version, level, threads = process.stdout.split()
    return version, level.lower(), threads


def run_step(configuration: Configuration, name: str) -> Result:
    """Run one step; output that cannot be read is a failure."""
    arguments = STEPS[name]
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "tests.xml"
        pytest = (
            ("-q", "-p", "no:cacheprovider", f"--junitxml={xml}") if "pytest" in arguments else ()
        )
        process = subprocess.run(
            [configuration.interpreter, *arguments, *pytest],
            cwd=ROOT,
            env=configuration.environment(),
            capture_output=True,
            text=True,
        )
        try:
            return read_junit(xml) if pytest else read_check(json.loads(process.stdout))
        except (OSError, ValueError, ElementTree.ParseError):
            return Result(0, 0, failures=((process.stderr or process.stdout).strip()[-400:],))


def read_junit(xml: Path) -> Result:
    """Read the file that pytest wrote with --junitxml; skipped tests do not count as run."""
    ran, failures = 0, []
    for test in ElementTree.parse(xml).getroot().iter("testcase"):
        ran += test.find("skipped") is None
        if test.find("failure") is not None or test.find("error") is not None:
            failures.append(f"{test.get('classname')}::{test.get('name')}")
    return Result(ran - len(failures), ran, failures=tuple(failures))


def read_check(report: Mapping[str, Any]) -> Result:
    """Read the report that `python -m spec check --json` printed."""
    cases = report["cases"]
    shares = [
        (column["worst_fraction"], f"{case['case']}, {column['column']} of {column['file']}")
        for case in cases
        for column in case["columns"]
    ]
    share, place = max(shares, default=(0.0, ""))
    failures = tuple(
        f"{case['case']}: {len(case['mismatches'])} mismatches, {len(case['violations'])} violations"
        for case in cases
        if not case["matches"]
    )
    return Result(len(cases) - len(failures), len(cases), share, place, failures)


def run(configuration: Configuration) -> bool:
    """Run the steps, as many at a time as the processors allow, print the line, return whether all passed."""
    started = time.monotonic()
    version, level, threads = probe(configuration.interpreter, configuration.environment())
    requested = (configuration.level, str(configuration.threads))
    actual = (level, threads)
    if requested != actual:
        print(f"{version}: level and threads {' '.join(requested)} requested, torch took {actual}")
        return False
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // configuration.threads)) as pool:
        results = dict(
            zip(
                configuration.steps,
                pool.map(lambda name: run_step(configuration, name), configuration.steps),
                strict=True,
            )
        )
    print(line(configuration, version, results, time.monotonic() - started), flush=True)
    for name, result in results.items():
        for failure in result.failures:
            print(f"    {name}: {failure}", flush=True)
    return all(result.passes for result in results.values())


def line(
    configuration: Configuration, version: str, results: Mapping[str, Result], seconds: float
) -> str:
    """Return one line of the table; a step without tests is `no test`."""
    cells = {name: f"{r.passed}/{r.total}" if r.total else "no test" for name, r in results.items()}
    largest = max(results.values(), key=lambda result: result.share)
    return COLUMNS.format(
        version,
        configuration.level,
        configuration.threads,
        configuration.cap or "-",
        *(cells.get(name, "-") for name in (*NUMBERS, "the rest")),
        f"{largest.share:.1%}",
        f"{seconds:.0f}",
        largest.place,
    ).rstrip()


def declared() -> list[str]:
    """Return the oldest and the newest Python that pyproject.toml declares, as 3.N."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: 3."
    minors = [int(c.removeprefix(prefix)) for c in project["classifiers"] if c.startswith(prefix)]
    return [f"3.{minor}" for minor in sorted({min(minors), max(minors)})]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="what CI runs")
    parser.add_argument("--declared", action="store_true", help="print the declared Pythons only")
    parser.add_argument("interpreters", nargs="*", metavar="INTERPRETER", default=[sys.executable])
    args = parser.parse_args(argv)
    if args.declared:
        print(*declared())
        return 0
    environment = {
        name: value for name, value in os.environ.items() if name != "ATEN_CPU_CAPABILITY"
    }
    _, native, _ = probe(args.interpreters[0], environment)
    print(COLUMNS.format(*HEADER).rstrip())
    results = [
        run(configuration)
        for configuration in configurations(args.interpreters, native, args.short)
    ]
    failed = results.count(False)
    print(f"{len(results)} configurations, {failed} with failures")
    return int(failed > 0 or not results)


if __name__ == "__main__":
    sys.exit(main())
