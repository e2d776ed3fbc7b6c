"""A history as text, JSON, one offline page, and JUnit XML. Nothing is compared here."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree

from ..compare.verdicts import EQUAL, EXTENDED, IDENTICAL
from ..lifecycle.history import FAILS, START, ColumnChange, History, Step
from ..lifecycle.ledger import Acceptance, not_accepted, stale
from .text import aligned, indent, printable

UNCHANGED = (START, IDENTICAL, EQUAL)
NAMED = 6  # columns named on the line of a commit
LEGEND = "X changed here, + added here, ~ other than at the start, · as at the start, ! fails"


def text(history: History, ledger: Sequence[Acceptance]) -> str:
    """A line a commit, the matrix of columns and commits, the commits that changed each column, the verdict."""
    blocks = [
        commits_table(history, ledger),
        matrix(history),
        column_lines(history),
        "\n".join(printable(f"stale: {sentence}") for sentence in stale(history, ledger)),
        verdict(history, ledger),
    ]
    return "\n\n".join(filter(None, blocks))


def commits_table(history: History, ledger: Sequence[Acceptance]) -> str:
    """Number, hash, date, subject, verdict, first stage, columns."""
    lines = [
        (
            str(number),
            step.commit.short,
            step.commit.date,
            printable(step.commit.subject)[:48],
            verdict_of(step, ledger),
            step.difference.stage,
            printable(what(step)),
        )
        for number, step in enumerate(history.steps)
    ]
    header = ("#", "commit", "date", "subject", "verdict", "first stage", "columns")
    return aligned(header, lines, left=7)


def verdict_of(step: Step, ledger: Sequence[Acceptance]) -> str:
    """The verdict of a commit, marked where all that it changes is accepted."""
    if step.verdict in UNCHANGED or not step.names:
        return step.verdict
    return step.verdict if not_accepted(step, ledger) else f"{step.verdict}, accepted"


def what(step: Step) -> str:
    """What a commit changed and added, in short; its problem where it fails."""
    if step.problem:
        return step.problem
    parts = []
    for label, names in (("", step.difference.changed), ("added ", step.difference.added)):
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            parts.append(f"{label}{', '.join(names[:NAMED])}{more}")
    return "; ".join(parts)


def matrix(history: History) -> str:
    """A line a column and a character a commit."""
    columns = history.columns
    if not columns:
        return ""
    width = max(len("column"), *map(len, columns))
    numbers = "".join(str(i % 10) for i in range(len(history.steps)))
    lines = [f"{'column':{width}}  {numbers}"]
    for column in columns:
        cells = "".join(cell(step, column) for step in history.steps)
        lines.append(printable(f"{column:{width}}  {cells}"))
    return "\n".join([*lines, LEGEND])


def cell(step: Step, column: str) -> str:
    """How a column is after a commit."""
    if step.verdict == FAILS:
        return "!"
    if column in step.difference.changed:
        return "X"
    if column in step.difference.added:
        return "+"
    return "~" if column in step.from_start else "·"


def column_lines(history: History) -> str:
    """Each column with the commits that changed it, and those that undid them."""
    lines = [
        f"{column}: {'; '.join(change_text(change) for change in history.changes_of(column))}"
        for column in history.columns
        if history.changes_of(column)
    ]
    return "Who changed what:\n" + indent("\n".join(map(printable, lines))) if lines else ""


def change_text(change: ColumnChange) -> str:
    by = f"{change.commit.short} {change.commit.subject}"
    return f"{by}, undone by {change.undone_by.short}" if change.undone_by else by


def open_steps(history: History, ledger: Sequence[Acceptance]) -> list[Step]:
    """The commits that change, add or break something that is not accepted."""
    return [
        step
        for step in history.steps
        if step.verdict not in UNCHANGED and (not step.names or not_accepted(step, ledger))
    ]


def status(history: History, ledger: Sequence[Acceptance], allow_extended: bool) -> int:
    """0 where every change is accepted, 3 where only additions are not, else 1."""
    verdicts = {step.verdict for step in open_steps(history, ledger)}
    if stale(history, ledger) or verdicts - {EXTENDED}:
        return 1
    return 3 if verdicts and not allow_extended else 0


def verdict(history: History, ledger: Sequence[Acceptance]) -> str:
    """The last line."""
    steps = history.steps[1:]
    kinds = dict.fromkeys(step.verdict for step in steps)
    counts = ", ".join(f"{sum(s.verdict == k for s in steps)} {k}" for k in kinds)
    left = len(open_steps(history, ledger))
    accepted = f", {left} not accepted" if left else ""
    commits = "1 commit changes" if len(steps) == 1 else f"{len(steps)} commits change"
    return (
        f"{commits} run.py's folder: {counts or 'none'}{accepted}; {history.captured} captured now"
    )


def machine(history: History, ledger: Sequence[Acceptance]) -> str:
    """Everything, as one JSON object."""
    whole = {
        "verdict": verdict(history, ledger),
        "commits": [step_object(step, ledger) for step in history.steps],
        "columns": {
            column: [
                {
                    "commit": change.commit.hash,
                    "undone_by": change.undone_by and change.undone_by.hash,
                }
                for change in history.changes_of(column)
            ]
            for column in history.columns
        },
        "stale": stale(history, ledger),
    }
    return json.dumps(whole, indent=2, ensure_ascii=False)


def step_object(step: Step, ledger: Sequence[Acceptance]) -> dict[str, Any]:
    return {
        "commit": step.commit.hash,
        "date": step.commit.date,
        "subject": step.commit.subject,
        "verdict": step.verdict,
        "stage": step.difference.stage,
        "changed": list(step.difference.changed),
        "added": list(step.difference.added),
        "differs_from_start": sorted(step.from_start),
        "violations": step.difference.violations,
        "problem": step.problem,
        "not_accepted": [] if step.verdict in UNCHANGED else not_accepted(step, ledger),
    }


def screen(step: Step) -> str:
    """The first screen of a commit's difference."""
    return step.problem or step.difference.screen or step.verdict


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color-scheme: light dark }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: left; vertical-align: top }
pre { overflow-x: auto; font-size: 13px } code { white-space: nowrap }
.changed, .fails, .unreadable { color: #b3261e } .extended { color: #8a6100 }
@media (prefers-color-scheme: dark) { .changed, .fails, .unreadable { color: #ff8a80 } .extended { color: #ffd180 } }
"""


def page(history: History, ledger: Sequence[Acceptance]) -> str:
    """One offline page: a row a commit, which opens to the first screen of its difference; then the matrix."""
    rows = []
    for number, step in enumerate(history.steps):
        cells = (str(number), step.commit.short, step.commit.date, step.commit.subject)
        shown = "".join(f"<td>{escape(printable(one))}</td>" for one in cells)
        parts = filter(None, (verdict_of(step, ledger), printable(what(step))))
        summary = f"<summary>{escape(': '.join(parts))}</summary>"
        body = "\n".join(map(printable, screen(step).split("\n")))
        detail = f"<details>{summary}<pre>{escape(body)}</pre></details>"
        rows.append(f'<tr>{shown}<td class="{step.verdict}">{detail}</td></tr>')
    head = "".join(f"<th>{name}</th>" for name in ("#", "commit", "date", "subject", "difference"))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>History of run.py</title>'
        f"<style>{STYLE}</style></head><body><h1>History of run.py</h1>"
        f"<p>{escape(verdict(history, ledger))}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"<h2>Columns and commits</h2><pre>{escape(matrix(history))}</pre>"
        f"<pre>{escape(column_lines(history))}</pre></body></html>\n"
    )


def junit(history: History, ledger: Sequence[Acceptance]) -> str:
    """A test case a commit; one that is not accepted has failed."""
    left = {step.commit.hash for step in open_steps(history, ledger)}
    suite = ElementTree.Element(
        "testsuite", name="history", tests=str(len(history.steps)), failures=str(len(left))
    )
    for step in history.steps:
        name = printable(f"{step.commit.short} {step.commit.subject}")
        case = ElementTree.SubElement(suite, "testcase", classname="spec.history", name=name)
        if step.commit.hash in left:
            failure = ElementTree.SubElement(
                case, "failure", message=f"{step.verdict}: {printable(what(step))}"
            )
            failure.text = "\n".join(map(printable, screen(step).split("\n")))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
