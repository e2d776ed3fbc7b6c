"""The tests of numbers under every setting that changes how a processor adds: one line a configuration.

    python scripts/matrix.py [--short] INTERPRETER…

scripts/run_matrix.sh makes the interpreters and calls this. The first interpreter runs every capability level of the
processor with one and with two threads, and with oneDNN and MKL capped as on an older processor. Another one, of
another Python, runs the highest and the lowest level, and the tests of everything else. `--short` is what CI runs:
golden and real model at the lowest level. Exit status: 0 all passed, 1 something failed or ran no test.

`tolerance` is the largest share of a tolerance that any number of any case took: above 100% it is a mismatch.
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
    """An interpreter under a capability level, so many threads, a cap of CAPS, and the steps to run."""

    interpreter: str
    level: str
    threads: int
    cap: str
    steps: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """The variables of a process of this configuration."""
        known = {"ATEN_CPU_CAPABILITY": self.level} if self.level in LEVELS else {}
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(self.threads))
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
        quiet = {"TOKENIZERS_PARALLELISM": "false"}
        return {**os.environ, **offline, **quiet, **threads, **known, **CAPS[self.cap]}


@dataclass(frozen=True)
class Result:
    """Of one step: how many cases or tests passed, of how many, the largest share of a tolerance, what failed."""

    passed: int
    total: int
    share: float = 0.0
    place: str = ""
    failures: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether something ran and all of it passed."""
        return 0 < self.total == self.passed and not self.failures


def levels(native: str) -> list[str]:
    """The capability levels of a processor, from high to low; `native` is what torch takes by itself."""
    name = native.lower()
    return [*reversed(LEVELS[: LEVELS.index(name) + 1])] if name in LEVELS else [name]


def configurations(
    interpreters: Sequence[str], native: str, short: bool
) -> Iterator[Configuration]:
    """Everything that is to run, interpreter by interpreter."""
    have = levels(native)
    first, *others = interpreters
    if short:
        yield Configuration(first, have[-1], 1, "", SHORT)
        return
    for level in have:
        for threads in (1, 2):
            yield Configuration(first, level, threads, "", NUMBERS)
    for level, cap in (("avx2", "AVX2"), ("default", "SSE")):
        if level in have:
            yield Configuration(first, level, 1, cap, NUMBERS)
    for interpreter in others:
        yield Configuration(interpreter, have[0], 1, "", (*NUMBERS, "the rest"))
        if len(have) > 1:
            yield Configuration(interpreter, have[-1], 1, "", NUMBERS)


def probe(interpreter: str, environment: Mapping[str, str]) -> tuple[str, str, str]:
    """The version of Python, the capability level and the number of threads that hold in an interpreter."""
    ended = subprocess.run(
        [interpreter, "-c", PROBE], capture_output=True, text=True, env=dict(environment)
    )
    if ended.returncode:
        sys.exit(f"matrix.py: error: {interpreter} cannot import torch: {ended.stderr.strip()}")
    version, level, threads = ended.stdout.split()
    return version, level.lower(), threads


def run_step(configuration: Configuration, name: str) -> Result:
    words = STEPS[name]
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "tests.xml"
        pytest = ("-q", "-p", "no:cacheprovider", f"--junitxml={xml}") if "pytest" in words else ()
        ended = subprocess.run(
            [configuration.interpreter, *words, *pytest],
            cwd=ROOT,
            env=configuration.environment(),
            capture_output=True,
            text=True,
        )
        try:
            return of_tests(xml) if pytest else of_cases(json.loads(ended.stdout))
        except (OSError, ValueError, ElementTree.ParseError):
            return Result(0, 0, failures=((ended.stderr or ended.stdout).strip()[-400:],))


def of_tests(xml: Path) -> Result:
    """What pytest wrote with --junitxml; tests that were skipped did not run."""
    ran, failures = 0, []
    for test in ElementTree.parse(xml).getroot().iter("testcase"):
        ran += test.find("skipped") is None
        if test.find("failure") is not None or test.find("error") is not None:
            failures.append(f"{test.get('classname')}::{test.get('name')}")
    return Result(ran - len(failures), ran, failures=tuple(failures))


def of_cases(report: Mapping[str, Any]) -> Result:
    """What `python -m spec check --json` printed."""
    cases = report["cases"]
    shares = [
        (column["worst_fraction"], f"{case['case']}, {column['column']} of {column['file']}")
        for case in cases
        for column in case["columns"]
    ]
    share, place = max(shares, default=(0.0, ""))
    wrong = tuple(
        f"{case['case']}: {len(case['mismatches'])} mismatches, {len(case['violations'])} violations"
        for case in cases
        if not case["matches"]
    )
    return Result(len(cases) - len(wrong), len(cases), share, place, wrong)


def run(configuration: Configuration) -> bool:
    """Run the steps, as many at a time as there are processors for their threads, and print the line."""
    started = time.monotonic()
    version, level, threads = probe(configuration.interpreter, configuration.environment())
    asked, took = (configuration.level, str(configuration.threads)), (level, threads)
    if asked != took:
        print(f"{version}: level and threads {' '.join(asked)} were asked for, torch took {took}")
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
    return all(result.sound for result in results.values())


def line(
    configuration: Configuration, version: str, results: Mapping[str, Result], seconds: float
) -> str:
    """One line of the table; a step that ran no test says so."""
    shown = {name: f"{r.passed}/{r.total}" if r.total else "no test" for name, r in results.items()}
    worst = max(results.values(), key=lambda result: result.share)
    return COLUMNS.format(
        version,
        configuration.level,
        configuration.threads,
        configuration.cap or "-",
        *(shown.get(name, "-") for name in (*NUMBERS, "the rest")),
        f"{worst.share:.1%}",
        f"{seconds:.0f}",
        worst.place,
    ).rstrip()


def declared() -> list[str]:
    """The oldest and the newest Python that pyproject.toml declares, as 3.N."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: 3."
    minors = [int(c.removeprefix(prefix)) for c in project["classifiers"] if c.startswith(prefix)]
    return [f"3.{minor}" for minor in sorted({min(minors), max(minors)})]


def main(argv: Sequence[str] | None = None) -> int:
    asked = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked.add_argument("--short", action="store_true", help="what CI runs")
    asked.add_argument("--declared", action="store_true", help="print the declared Pythons only")
    asked.add_argument("interpreters", nargs="*", metavar="INTERPRETER", default=[sys.executable])
    args = asked.parse_args(argv)
    if args.declared:
        print(*declared())
        return 0
    plain = {name: value for name, value in os.environ.items() if name != "ATEN_CPU_CAPABILITY"}
    _, native, _ = probe(args.interpreters[0], plain)
    print(COLUMNS.format(*HEADER).rstrip())
    ended = [run(one) for one in configurations(args.interpreters, native, args.short)]
    failed = ended.count(False)
    print(f"{len(ended)} configurations, {failed} with failures")
    return int(failed > 0 or not ended)


if __name__ == "__main__":
    sys.exit(main())
