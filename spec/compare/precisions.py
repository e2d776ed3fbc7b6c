"""A number in a lower precision: float16, bfloat16, or so many decimals."""

import struct
from collections.abc import Callable, Mapping


def half(number: float) -> float:
    """The nearest float16; infinite where it overflows."""
    try:
        return float(struct.unpack("e", struct.pack("e", number))[0])
    except OverflowError:
        return float("inf")


def bfloat16(number: float) -> float:
    """The nearest bfloat16 of a float32, ties to even."""
    try:
        (bits,) = struct.unpack("I", struct.pack("f", number))
    except OverflowError:
        return float("inf")
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return float(struct.unpack("f", struct.pack("I", bits))[0])


def decimals(count: int) -> Callable[[float], float]:
    """Rounding to a number of decimals."""
    return lambda number: round(number, count)


PRECISIONS: Mapping[str, Callable[[float], float]] = {
    "bfloat16": bfloat16,
    "float16": half,
    **{f"{count} decimals": decimals(count) for count in range(1, 9)},
}
