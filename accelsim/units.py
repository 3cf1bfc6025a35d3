"""Quantities in words ("16 MiB", "940 MHz") to exact base units.

Base units: byte, hertz, byte/second, picojoule, square micrometre, second. Values are exact
`Fraction`s, so that durations made of them carry no rounding. pint does the conversion; it is
imported at the first call because it takes a quarter of a second.
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from accelsim.errors import shown
from accelsim.traced import Traced

if TYPE_CHECKING:
    import pint

BASE_UNITS = {
    "capacity": "byte",
    "frequency": "hertz",
    "bandwidth": "byte/second",
    "energy": "picojoule",
    "area": "micrometer**2",
    "time": "second",
}
EXAMPLES = {
    "capacity": "16 MiB",
    "frequency": "940 MHz",
    "bandwidth": "400 GiB/s",
    "energy": "249.6 pJ",
    "area": "1545 um^2",
    "time": "30 ns",
}

FORMATS: dict[str, int | Fraction] = {
    **{"float64": 8, "float32": 4, "tf32": 4, "float16": 2, "bfloat16": 2},
    **{"float8_e4m3fn": 1, "float8_e5m2": 1, "int64": 8, "int32": 4, "int16": 2, "int8": 1},
    "int4": Fraction(1, 2),
}
"""Number formats and the bytes of one value in memory."""

SMALLEST, LARGEST = Fraction(1, 10**30), Fraction(10**30)

QUANTITY = (
    r"\s*([0-9]{1,40}(?:\.[0-9]{0,40})?(?:[eE][+-]?[0-9]{1,3})?)\s*([A-Za-zµ][A-Za-z0-9µ/^*]*)\s*"
)
"""A number and a unit, as Python and JavaScript read it."""
_QUANTITY = re.compile(QUANTITY)


DEFINITIONS = """
atto- = 1e-18 = a-
femto- = 1e-15 = f-
pico- = 1e-12 = p-
nano- = 1e-9 = n-
micro- = 1e-6 = µ- = μ- = u-
milli- = 1e-3 = m-
centi- = 1e-2 = c-
kilo- = 1e3 = k-
mega- = 1e6 = M-
giga- = 1e9 = G-
tera- = 1e12 = T-
peta- = 1e15 = P-
exa- = 1e18 = E-
kibi- = 1024 = Ki-
mebi- = 1048576 = Mi-
gibi- = 1073741824 = Gi-
tebi- = 1099511627776 = Ti-
pebi- = 1125899906842624 = Pi-
bit = [information]
byte = 8 * bit = B = octet
meter = [length] = m = metre
micron = 1e-6 * meter
angstrom = 1e-10 * meter
inch = 0.0254 * meter = in
second = [time] = s = sec
minute = 60 * second = min
hour = 3600 * second = h = hr
hertz = 1 / second = Hz
gram = [mass] = g
joule = 1000 * gram * meter ** 2 / second ** 2 = J
watt = joule / second = W
electron_volt = 1.602176634e-19 * joule = eV
baud = bit / second = Bd = bps
"""
"""Prefixes and units that files may use, in pint's words (electronvolt: SI, exact since 2019).

pint's own thousand take half a second to read, and count a bit as a plain number: 2 GB/s would be
a frequency.
"""


@functools.cache
def _registry() -> pint.UnitRegistry[Any]:
    import pint

    return pint.UnitRegistry(DEFINITIONS.splitlines(), non_int_type=Fraction)


@functools.cache
def _factor(unit: str, base: str) -> Fraction:
    """How many `base` one `unit` is. Raises ValueError when it is none."""
    import pint

    try:
        quantity = _registry().Quantity(Fraction(1), unit).to(base)
    except pint.UndefinedUnitError:
        raise ValueError(f"{unit!r} is not a unit") from None
    except pint.DimensionalityError:
        raise ValueError(f"{unit!r} is not a unit of this kind") from None
    except Exception:
        raise ValueError(f"{unit!r} cannot be read as a unit") from None
    return Fraction(quantity.magnitude)


def split(text: object) -> tuple[Fraction, str]:
    """The number and the unit of a quantity in words. Raises ValueError when it is none."""
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"expected a number with its unit, got {shown(text)}")
    return Fraction(match[1]), match[2]


def parse(text: object, kind: str) -> Fraction:
    """Exact value of `text` in the base unit of `kind` (a key of BASE_UNITS).

    Raises ValueError saying what was expected when text is not a number followed by a unit of
    that kind.
    """
    expected = f"expected a {kind} with its unit, such as {EXAMPLES[kind]!r}"
    try:
        number, unit = split(text)
    except ValueError:
        raise ValueError(f"{expected}, got {shown(text)}") from None
    try:
        factor = _factor(unit, BASE_UNITS[kind])
    except ValueError as error:
        raise ValueError(f"{expected}: {error}") from None
    value = number * factor
    if value and not SMALLEST < value < LARGEST:
        raise ValueError(f"expected 0 or a {kind} from 1e-30 to 1e30 {BASE_UNITS[kind]}")
    return value


def show_bytes(count: float | Fraction) -> str:
    """A byte count with the largest binary prefix that keeps it at or above one."""
    if isinstance(count, Traced):
        return f"{count:bytes}"
    value = float(count)
    for prefix in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or prefix == "TiB":
            return f"{value:.0f} B" if prefix == "B" else f"{value:.2f} {prefix}"
        value /= 1024
    raise AssertionError("unreachable")


def show_seconds(seconds: float) -> str:
    """A time with the prefix that keeps it at or above one."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= factor:
            return f"{seconds / factor:.4g} {unit}"
    return f"{seconds / 1e-9:.4g} ns"


def show_flops(per_second: float) -> str:
    """Operations per second with the prefix that keeps them at or above one."""
    for factor, unit in ((1e15, "PFLOP/s"), (1e12, "TFLOP/s"), (1e9, "GFLOP/s")):
        if per_second >= factor:
            return f"{per_second / factor:.4g} {unit}"
    return f"{per_second:.4g} FLOP/s"


def show_energy(picojoules: float) -> str:
    """An energy with the prefix that keeps it at or above one."""
    for factor, unit in ((1e12, "J"), (1e9, "mJ"), (1e6, "uJ"), (1e3, "nJ")):
        if picojoules >= factor:
            return f"{picojoules / factor:.4g} {unit}"
    return f"{picojoules:.4g} pJ"
