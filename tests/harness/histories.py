"""A git repository of a run.py that lives on: forty-odd commits, of each of which the truth is known.

Its run.py replays captures (see replay/) in an interpreter whose torch and TransformerLens are stubs, so that a capture
takes a fraction of a second.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spec.golden import GOLDEN

REPLAY = Path(__file__).parent / "replay"
FOLDER = "layers"
PURE, RECORDS = "pure-next-token", "records"
TORCH = """
from types import SimpleNamespace
get_num_threads = get_num_interop_threads = lambda: 1
are_deterministic_algorithms_enabled = lambda: False
backends = SimpleNamespace(cpu=SimpleNamespace(get_cpu_capability=lambda: "DEFAULT"))
"""
EXPRESSIONS = '''"""What each column is made of."""

COLUMNS = {{
    "pure-next-token": {{{pure}}},
    "records": {{{records}}},
}}
ROWS = {{{rows}}}
MORE = {{
    "pure-next-token": {{{more_pure}}},
    "records": {{{more_records}}},
}}
KEYS = {{{keys}}}
NEW_KEYS = {{{new_keys}}}
'''
# a change of behaviour: part of the expressions, its key, the expression, and the column that it changes
PLANTED = (
    ("pure", "entropy", "lambda x, row: x * 0.6931471805599453", f"{PURE}: entropy"),
    ("pure", "kl_to_final_bits", "lambda x, row: x * 1.01", f"{PURE}: kl_to_final_bits"),
    ("pure", "cos_to_final", "lambda x, row: x - 0.01", f"{PURE}: cos_to_final"),
    ("pure", "p_top1", "lambda x, row: x * 0.99", f"{PURE}: p_top1"),
    ("pure", "p_top5", "lambda x, row: x * 0.98", f"{PURE}: p_top5"),
    ("pure", "p_answer", "lambda x, row: x * 0.9", f"{PURE}: p_answer"),
    ("pure", "answer_rank", "lambda x, row: x + 1", f"{PURE}: answer_rank"),
    ("pure", "rest_mass", "lambda x, row: x * 0.97", f"{PURE}: rest_mass"),
    ("pure", "control_margin", "lambda x, row: -x", f"{PURE}: control_margin"),
    ("pure", "is_answer", "lambda x, row: not x", f"{PURE}: is_answer"),
    ("pure", "copy_collapse", "lambda x, row: not x", f"{PURE}: copy_collapse"),
    ("pure", "entropy_collapse", "lambda x, row: not x", f"{PURE}: entropy_collapse"),
    ("records", "entropy", "lambda x, row: x + 0.5", f"{RECORDS}: entropy"),
    ("records", "rest_mass", "lambda x, row: x * 0.5", f"{RECORDS}: rest_mass"),
    ("records", "token", "lambda x, row: f'{x}!'", f"{RECORDS}: token"),
    ("rows", RECORDS, "lambda rows: rows[:-1]", f"{RECORDS}: row"),
    ("keys", "diagnostics.L_semantic", "lambda x: 1 if x is None else x + 1", "json: diagnostics.L_semantic"),
    ("keys", "model_stats.n_heads", "lambda x: x + 1", "json: model_stats.n_heads"),
    ("keys", "final_prediction.entropy", "lambda x: x + 1.0", "json: final_prediction.entropy"),
    ("keys", "ablation_summary.L_copy_nf", "lambda x: 1 if x is None else x + 1", "json: ablation_summary.L_copy_nf"),
)  # fmt: skip
UNDONE = ("entropy", "p_answer", "diagnostics.L_semantic", RECORDS)  # of these, a later commit


@dataclass
class Truth:
    """What a commit did: the verdict, and the columns that it changed or added."""

    subject: str
    verdict: str
    names: tuple[str, ...] = ()
    hash: str = ""


@dataclass
class Repository:
    """The repository while it is built: the expressions and further files of the next commit."""

    path: Path
    parts: dict[str, dict[str, str]] = field(default_factory=dict)
    further: dict[str, str] = field(default_factory=dict)
    truths: list[Truth] = field(default_factory=list)

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(self.path), *who, *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        return ended.stdout.strip()

    def commit(self, subject: str, verdict: str, *names: str, listed: bool = True) -> None:
        """Write the expressions and commit all files; `listed` where the commit changes run.py's folder."""
        parts = {
            name: "".join(f"{k!r}: {v}, " for k, v in self.parts.get(name, {}).items())
            for name in PARTS
        }
        (self.path / FOLDER / "expressions.py").write_text(EXPRESSIONS.format(**parts))
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject)
        if listed:
            self.truths.append(
                Truth(subject, verdict, tuple(sorted(names)), self.git("rev-parse", "HEAD"))
            )

    def set(self, part: str, key: str, expression: str | None) -> None:
        """Set an expression, or forget it."""
        known = self.parts.setdefault(part, {})
        known.pop(key, None)
        if expression is not None:
            known[key] = expression

    def edit(self, file: str, *changes: tuple[str, str]) -> None:
        """Replace text in a file of run.py's folder."""
        path = self.path / FOLDER / file
        text = path.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)


PARTS = ("pure", "records", "rows", "more_pure", "more_records", "keys", "new_keys")


def interpreter(folder: Path) -> Path:
    """An interpreter whose torch and TransformerLens are stubs."""
    stubs = folder / "stubs"
    (stubs / "transformer_lens").mkdir(parents=True)
    (stubs / "transformer_lens" / "__init__.py").write_text("class HookedTransformer: pass\n")
    (stubs / "torch.py").write_text(TORCH)
    python = folder / "python"
    variables = f"PYTHONPATH={stubs} CAPTURES={GOLDEN / 'outputs'}"
    python.write_text(f'#!/bin/sh\n{variables} exec {sys.executable} -B "$@"\n')
    python.chmod(0o755)
    return python


def start(path: Path) -> Repository:
    """A repository with its first commit."""
    path.mkdir()
    shutil.copytree(REPLAY, path / FOLDER, ignore=shutil.ignore_patterns("__pycache__"))
    repository = Repository(path)
    repository.git("init", "-q", "-b", "main")
    repository.commit("Replay", "start")
    return repository


def refactor(repository: Repository) -> None:
    """Commits that change no output."""
    repository.edit("files.py", ("Path) -> Any:\n", "Path) -> Any:\n    # UTF-8\n"))
    repository.commit("Say what the encoding is", "identical")
    repository.edit("tables.py", ("changed", "result"))
    repository.commit("Rename a variable", "identical")
    repository.git("mv", f"{FOLDER}/tables.py", f"{FOLDER}/rows_of_tables.py")
    repository.edit("run.py", ("import tables", "import rows_of_tables as tables"))
    repository.commit("Rename a module", "identical")
    (repository.path / FOLDER / "test_files.py").write_text("def test():\n    assert True\n")
    repository.commit("Test the files", "identical")
    (repository.path / FOLDER / "test_files.py").write_text("def test():\n    pass\n")
    repository.commit("Test them otherwise", "identical")
    (repository.path / "README.md").write_text("Replays captures.\n")
    repository.commit("Describe it", "identical", listed=False)


def plant(repository: Repository, planted: tuple[str, str, str, str], number: int) -> None:
    part, key, expression, column = planted
    repository.set(part, key, expression)
    repository.commit(f"Change {number}: {key}", "changed", column)


def add_more(repository: Repository) -> None:
    """Commits that only add."""
    repository.set("more_pure", "entropy_bits", "lambda row: row['entropy']")
    repository.commit("Name the unit", "extended", f"{PURE}: entropy_bits")
    repository.set("more_records", "depth", "lambda row: row['layer']")
    repository.commit("Say the depth", "extended", f"{RECORDS}: depth")
    repository.set("new_keys", "diagnostics.seed", "7")
    repository.commit("Record the seed", "extended", "json: diagnostics.seed")
    repository.edit(
        "files.py",
        (
            "FURTHER: dict[str, str] = {}",
            'FURTHER = {"output-{name}-milestones.csv": "layer,is_copy\\n0,False\\n"}',
        ),
    )
    repository.commit(
        "Write the milestones",
        "extended",
        "output-Fact-milestones.csv",
        "output-rms-rope-milestones.csv",
    )


def fail(repository: Repository) -> None:
    """Commits that fail, each with the one that mends it."""
    for subject, broken in (
        ("Divide by nothing", ("    return True", "    return 1 / 0")),
        ("Import what is not there", ("import document\n", "import document\nimport nowhere\n")),
        ("Wait for ever", ("    return True", "    while True: pass")),
    ):
        repository.edit("run.py", broken)
        repository.commit(subject, "fails", "fails")
        repository.edit("run.py", broken[::-1])
        repository.commit(f"Mend: {subject}", "identical")


def merge(repository: Repository) -> None:
    """A branch with a change, merged without a fast forward."""
    repository.git("checkout", "-q", "-b", "side")
    repository.set("keys", "model_stats.d_model", "lambda x: x * 2")
    repository.commit("Double the width on a branch", "changed", "json: model_stats.d_model")
    repository.git("checkout", "-q", "main")
    (repository.path / "notes.txt").write_text("1\n")
    repository.git("add", "-A")
    repository.git("commit", "-q", "-m", "Note something")
    repository.git("merge", "-q", "--no-ff", "-m", "Merge the width", "side")
    repository.truths.append(
        Truth(
            "Merge the width",
            "changed",
            ("json: model_stats.d_model",),
            repository.git("rev-parse", "HEAD"),
        )
    )


def build(path: Path) -> Repository:
    """The whole repository."""
    repository = start(path)
    refactor(repository)
    for number, planted in enumerate(PLANTED[:10], start=1):
        plant(repository, planted, number)
    add_more(repository)
    fail(repository)
    for number, planted in enumerate(PLANTED[10:], start=11):
        plant(repository, planted, number)
    for part, key, _, column in PLANTED:
        if key in UNDONE and part != "records":
            repository.set(part, key, None)
            copied = [f"{PURE}: entropy_bits"] if column == f"{PURE}: entropy" else []
            repository.commit(f"Undo {key}", "changed", column, *copied)
    merge(repository)
    return repository


def truth_of(truths: list[Truth]) -> Mapping[str, Any]:
    """Verdict and names by hash."""
    return {truth.hash: (truth.subject, truth.verdict, truth.names) for truth in truths}
