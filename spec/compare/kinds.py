"""The kinds of difference between two runs."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What differs; the value is the text that reports print."""

    VALUE = "value"
    ABSENT = "absent"
    TYPE = "type"
    FORMAT = "format"
    QUOTING = "quoting"
    DTYPE = "dtype"
    SHAPE = "shape"
    LIST_LENGTH = "list length"
    ROW_WIDTH = "row width"
    TOPK_ORDER = "top-k order"
    TOPK_TOKEN = "top-k token"
    TEXT = "text"  # the first line of a file that is compared by its bytes
    BYTES = "bytes"  # the first byte of such a file
    EXPECTED_RUN = "expected run"  # the expected run failed or cannot be read
    OBTAINED_RUN = "obtained run"
    MISSING_FILE = "missing file"
    EXTRA_FILE = "extra file"
    MISSING_ROW = "missing row"
    EXTRA_ROW = "extra row"
    FURTHER_PASS = "further pass"  # all rows of a pass that the expected run does not have
    ROW_ORDER = "row order"
    MISSING_COLUMN = "missing column"
    EXTRA_COLUMN = "extra column"
    REPEATED_COLUMN = "repeated column"  # a second one of a name
    COLUMN_ORDER = "column order"
    MISSING_KEY = "missing key"
    EXTRA_KEY = "extra key"
    KEY_ORDER = "key order"


# what only the expected run has, and what only the obtained run has
MISSING: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.MISSING_FILE: "file",
        Kind.MISSING_ROW: "row",
        Kind.MISSING_COLUMN: "column",
        Kind.MISSING_KEY: "key",
    }
)
EXTRA: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.EXTRA_FILE: "file",
        Kind.EXTRA_ROW: "row",
        Kind.FURTHER_PASS: "pass",
        Kind.EXTRA_COLUMN: "column",
        Kind.EXTRA_KEY: "key",
    }
)
UNREADABLE = frozenset({Kind.EXPECTED_RUN, Kind.OBTAINED_RUN})
BYTEWISE = frozenset({Kind.TEXT, Kind.BYTES})
WHOLE_ROW = frozenset(
    {Kind.MISSING_ROW, Kind.EXTRA_ROW, Kind.FURTHER_PASS, Kind.ROW_ORDER, Kind.ROW_WIDTH}
)
# what a run may have more while all that was there is there and equal
ADDITIONS = frozenset({Kind.EXTRA_FILE, Kind.EXTRA_COLUMN, Kind.EXTRA_KEY, Kind.FURTHER_PASS})
