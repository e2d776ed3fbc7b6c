"""The one error a person sees: what was received, which rule it breaks, and how to mend it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

LONGEST = 400  # characters of a library's own text
# Errors whose text is unclear without their kind.
UNNAMED = (
    AssertionError,
    AttributeError,
    KeyError,
    IndexError,
    MemoryError,
    NameError,
    RuntimeError,
    TypeError,
)


class LensError(Exception):
    """Bad input or an environment that cannot serve it; its text is printed unchanged."""


def require(what: str, extra: str, packages: Sequence[str]) -> None:
    """Raises LensError where a package that `what` needs is not installed; `extra` of this project brings it."""
    if missing := [name for name in packages if find_spec(name) is None]:
        raise LensError(
            f"{what} needs {' and '.join(missing)}; install it: pip install 'lenses-min[{extra}]'"
        )


@contextmanager
def library_errors(action: str, advice: str = "") -> Iterator[None]:
    """Whatever a library raises inside becomes one LensError, "cannot <action>: <its text>; <advice>".

    A LensError passes as it is.
    """
    try:
        yield
    except LensError:
        raise
    except Exception as error:  # third-party readers raise anything
        end = f"; {advice}" if advice else ""
        raise LensError(f"cannot {action}: {library_text(error)}{end}") from error


def library_text(error: BaseException, named: bool = True) -> str:
    """The text of a library's error in one line of at most LONGEST characters.

    Where it is `named`, its kind stands in front of a text that needs it, and in place of one that is missing.
    """
    kind = type(error).__name__
    text = " ".join(str(error).split()).rstrip(".")
    if len(text) > LONGEST:
        text = text[:LONGEST].rsplit(" ", 1)[0] + " …"
    if not named:
        return text
    if not text:
        return kind
    unnamed = isinstance(error, UNNAMED) and not isinstance(error, NotImplementedError)
    return f"{kind}: {text}" if unnamed else text
