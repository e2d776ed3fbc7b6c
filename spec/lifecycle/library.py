"""A library of cases that golden/ does not hold yet: cases.json, models/ and prisms/, laid out as golden/ is."""

from collections.abc import Iterable
from pathlib import Path

from ..errors import SpecError
from ..golden import Case, case_entries, cases_from, select


def load_library(folder: Path, names: Iterable[str] = ()) -> list[Case]:
    """Return the named cases of a library, by default all.

    Raises SpecError where the folder is no library or a model is missing.
    """
    try:
        cases = cases_from(case_entries(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(
            f"{folder} is no library of cases ({error}); make one with new-case"
        ) from error
    chosen = select(cases, names)
    if missing_models := [
        case.model for case in chosen if not (case.model_path(folder) / "config.json").is_file()
    ]:
        raise SpecError(
            f"{folder} has no checkpoint models/{missing_models[0]}; make the case again with new-case"
        )
    return chosen
