"""The prompts of a run, read from a file. The built-in prompts are `prompts.yaml` in this folder.

YAML or JSON: `passes`, and optionally `test_prompts` and `keywords`. JSON Lines: one object a line, a pass or
{"test_prompt": …}. A pass has `id`, `context` and `answer`, and optionally `variant` (orig), `control` (the
"id/variant" of the pass whose answer is subtracted in control_margin), `records` (false), `join` (" " or "", what
stands between context and answer) and `tags` (texts by name, such as language: en), which group it in statistics.
A JSON text that begins with `{` is taken in place of a file.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from ..errors import LensError
from .textfiles import parse_json, parse_yaml, read_text

BUILT_IN = Path(__file__).with_name("prompts.yaml")
SHIPPED = {Path("facts"): Path(__file__).with_name("facts.jsonl")}  # by name
SUFFIXES = (".yaml", ".yml", ".json", ".jsonl")
TEMPERATURES = (0.1, 2.0)
FAULTS = {
    "missing": "is missing",
    "extra_forbidden": "is no field here; a pass has id, variant, context, answer, control, records, join, tags",
    "string_type": "must be a text; put it in quotes",
    "string_unicode": "holds half of a surrogate pair, which is no character",
    "model_type": "must be an object with fields",
    "literal_error": 'must be " " or "", what stands between context and answer',
    "string_pattern_mismatch": "must not be blank; an id or a variant has neither space nor slash",
    "dict_type": "must be a mapping of texts, such as {language: en}",
    "tags: string_pattern_mismatch": "must not be blank; the name of a tag has neither space, slash nor =, "
    "its value no space at an end and no line end",
}
Name = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^/\s]+$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Context = Annotated[
    str, StringConstraints(min_length=0)
]  # with a constraint, half a surrogate pair is refused
AnswerText = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
TagName = Annotated[str, StringConstraints(pattern=r"^[^/\s=]+$")]
TagValue = Annotated[str, StringConstraints(pattern=r"^\S(.*\S)?$")]


class Entry(BaseModel):
    """A pass as a file has it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: Name
    variant: Name = "orig"
    context: Context
    answer: AnswerText
    control: str | None = None
    records: bool = False
    join: Literal[" ", ""] | None = None
    tags: dict[TagName, TagValue] = {}

    @property
    def name(self) -> str:
        return f"{self.id}/{self.variant}"


class Document(BaseModel):
    """A file of prompts, before its entries are checked against one another."""

    model_config = ConfigDict(extra="forbid", strict=True)
    passes: list[Entry]
    test_prompts: list[Text] = []
    keywords: list[Text] = []


@dataclass(frozen=True)
class Prompt:
    """One pass: the text the model reads and the answer that counts as right.

    A `write_records` pass also gets records and the raw-lens check; `control` is the prompt whose answer is subtracted
    in control_margin; `join`, a space or nothing, stands between text and answer, None leaves it to the text; `tags`
    are pairs of name and value.
    """

    id: str
    variant: str
    text: str
    answer: str
    write_records: bool = False
    control: "Prompt | None" = None
    join: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Suite:
    """The passes of the lens, the test prompts of the model itself, and the tokens that show their top 20."""

    passes: tuple[Prompt, ...]
    test_prompts: tuple[str, ...]
    keywords: frozenset[str]


@cache
def built_in() -> Suite:
    return read_suite(BUILT_IN)


def suite_of(prompts: str) -> Suite:
    """The prompts that an option names: a file, a JSON text that begins with `{`, or for nothing the built-in ones.

    Raises LensError with every fault at once: file, entry and field.
    """
    if not prompts:
        return built_in()
    if prompts.startswith("{"):
        return composed(checked("prompts", ".json", prompts))
    return read_suite(Path(prompts))


def prompts_text(prompts: Sequence[Any] | Mapping[str, Any]) -> str:
    """Prompts as the JSON text of a file of prompts; passes of a list that have no id are numbered from 1.

    Raises LensError where a value is none of JSON's.
    """
    if not isinstance(prompts, Mapping):
        numbered = [
            {"id": str(number), **entry} if isinstance(entry, Mapping) else entry
            for number, entry in enumerate(prompts, start=1)
        ]
        prompts = {"passes": numbered}
    try:
        return json.dumps(prompts, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise LensError(
            f"prompts must be a file, or lists and mappings of texts and flags, got {error}"
        ) from error


def read_suite(path: Path) -> Suite:
    """The prompts of a file. Raises LensError with every fault at once: file, entry and field."""
    return composed(read_document(path))


def composed(document: Document) -> Suite:
    """The passes of some entries, each with the pass that is its control."""
    prompts: dict[str, Prompt] = {}
    for e in document.passes:
        tags = tuple(e.tags.items())
        prompts[e.name] = Prompt(
            e.id, e.variant, e.context, e.answer, e.records, join=e.join, tags=tags
        )
    controls = {e.name: prompts[e.control] if e.control else None for e in document.passes}
    passes = tuple(replace(p, control=controls[name]) for name, p in prompts.items())
    return Suite(
        passes, tuple(document.test_prompts), frozenset(word.lower() for word in document.keywords)
    )


def read_document(path: Path) -> Document:
    """The entries of a file as it has them, checked one by one and against one another."""
    path = SHIPPED.get(path, path)
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    if path.suffix.lower() not in SUFFIXES:
        raise LensError(
            f"{path} is no file of prompts; its name ends in .yaml, .yml, .json or .jsonl"
        )
    return checked(str(path), path.suffix.lower(), text)


def checked(name: str, suffix: str, text: str) -> Document:
    """The entries of a text in the format of a suffix; messages begin with `name`."""
    try:
        parsed, places = parse(suffix, text)
        document = Document.model_validate(parsed)
        problems = list(contradictions(document, places))
    except ValidationError as error:
        problems = [fault(e, places, parsed) for e in error.errors()]
    except LensError as error:
        problems = str(error).split("\n")
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise unreadable(name, error) from error
    if problems:
        raise LensError("\n".join(f"{name}: {problem}" for problem in problems))
    return document


def unreadable(name: str | Path, error: Exception) -> LensError:
    return LensError(f"cannot read the prompts of {name}: {' '.join(str(error).split())}")


def parse(suffix: str, text: str) -> tuple[Any, dict[tuple[str, int], str]]:
    """The text as one object, and the place of each entry for messages."""
    if suffix in (".yaml", ".yml"):
        return parse_yaml(text), {}
    if suffix == ".json":  # YAML takes the two escapes of an emoji for two characters
        return parse_json(text), {}
    entries: dict[str, list[Any]] = {"passes": [], "test_prompts": []}
    places, problems = {}, []
    for number, line in enumerate(text.split("\n"), start=1):  # a text may hold other line ends
        try:
            entry = parse_json(line, number) if line.strip() else None
        except json.JSONDecodeError as error:
            problems.append(f"line {number}: {error}")
            continue
        except LensError as error:
            problems.append(str(error))
            continue
        if entry is not None:
            is_test_prompt = isinstance(entry, Mapping) and set(entry) == {"test_prompt"}
            kind, value = (
                ("test_prompts", entry["test_prompt"]) if is_test_prompt else ("passes", entry)
            )
            places[kind, len(entries[kind])] = f"line {number}"
            entries[kind].append(value)
    if problems:
        raise LensError("\n".join(problems))
    return entries, places


def place(kind: str, index: int, places: Mapping[tuple[str, int], str]) -> str:
    return places.get((kind, index), f"{kind}[{index}]")


def fault(error: Mapping[str, Any], places: Mapping[tuple[str, int], str], parsed: Any) -> str:
    """One fault of a file as `entry (name): field: what is wrong`."""
    location, kind = list(error["loc"]), error["type"]
    problem = FAULTS.get(kind, error["msg"])
    if "tags" in location:
        problem = FAULTS.get(f"tags: {kind}", problem)
    if len(location) > 1 and isinstance(location[1], int):
        part, index, *fields = location
        entry = parsed[part][index]
        has_id = isinstance(entry, Mapping) and "id" in entry
        name = f" ({entry['id']}/{entry.get('variant', 'orig')})" if has_id else ""
        location = [place(part, index, places) + name, *fields]
    if kind not in ("missing", "extra_forbidden"):
        problem = (
            f"{problem}, got {json.dumps(error['input'], ensure_ascii=False, default=str)[:80]}"
        )
    return ": ".join(map(str, [*location, problem]))


def contradictions(document: Document, places: Mapping[tuple[str, int], str]) -> Iterator[str]:
    """What is wrong between entries: none at all, a name that comes twice, a control that is no other pass."""
    names = Counter(e.name for e in document.passes)
    if not names:
        yield "passes: there is none; give at least one with id, context and answer"
    for i, e in enumerate(document.passes):
        location = f"{place('passes', i, places)} ({e.name})"
        if names[e.name] > 1:
            yield f"{location}: variant: {names[e.name]} passes have this id and variant; give each its own"
        if e.control is not None and (e.control not in names or e.control == e.name):
            known = ", ".join(name for name in names if name != e.name)[:120] or "none"
            yield f"{location}: control: {e.control!r} is no other pass of the file; there are {known}"
