"""Values of one word or number: what the loader takes, and the same said as JSON Schema.

The schema of a type refuses what its validator refuses, but for what a pattern cannot tell:
whether a unit is one of that quantity, and whether a number written as text is in its range.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from accelsim import units
from accelsim.errors import shown

MAX_SHAPE = 1 << 62


def _says(expected: str, **keywords: Any) -> WithJsonSchema:
    """A JSON Schema; `expected` is what an editor shows where a text does not fit."""
    message = {"patternErrorMessage": f"expected {expected}"} if "pattern" in keywords else {}
    return WithJsonSchema({"description": f"Expected: {expected}.", **keywords, **message})


def _whole_word(pattern: str) -> str:
    return f"^(?:{pattern})$"


# Whole numbers ------------------------------------------------------------------------------------


def _shape(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"expected a whole number, got {shown(value)}")
    if not 1 <= value <= MAX_SHAPE:
        raise ValueError(f"expected a number from 1 to 2^62, got {shown(value)}")
    return value


def _cycles(value: object) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else _shape(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_SHAPE:
        raise ValueError(f"expected a whole number up to 2^62, got {shown(value)}")
    return value


def _optional_whole(value: object) -> int | None:
    return None if value is None else _whole(value)


def _size(value: object) -> object:
    """A whole number that 64 bits hold, or a text that the mapping reads."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"expected a whole number or text, got {shown(value)}")
    if isinstance(value, int) and abs(value) > MAX_SHAPE:
        raise ValueError(f"expected a number up to 2^62, got {shown(value)}")
    return value


_ONE_ON = {"minimum": 1, "maximum": MAX_SHAPE}
_ANY_WHOLE = {"minimum": -MAX_SHAPE, "maximum": MAX_SHAPE}

Shape = Annotated[
    int, BeforeValidator(_shape), _says("a whole number from 1", type="integer", **_ONE_ON)
]
Cycles = Annotated[
    int,
    BeforeValidator(_cycles),
    _says("a whole number from 0", type="integer", minimum=0, maximum=MAX_SHAPE),
]
OptionalWhole = Annotated[
    int | None,
    BeforeValidator(_optional_whole),
    _says("a whole number", type=["integer", "null"], **_ANY_WHOLE),
]
Size = Annotated[
    int | str,
    BeforeValidator(_size),
    _says(
        "a whole number, `rest`, UNIT.DIMENSION or fit(LEVEL)",
        type=["integer", "string"],
        **_ANY_WHOLE,
        examples=["rest", "fit(global_buffer)", "array_2d.rows", 128],
    ),
]

# Steps --------------------------------------------------------------------------------------------

Steps = int | dict[str, int]


def steps(least: int, most: int) -> tuple[BeforeValidator, WithJsonSchema]:
    """Of a field: a number of tiles, or of iterations of loops ({P1: 1}), between two bounds."""
    what = "a whole number, or loops with numbers such as {P1: 1}"

    def check(value: object) -> object:
        numbers = list(value.values()) if isinstance(value, dict) else [value]
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int):
                raise ValueError(f"expected {what}, got {shown(value)}")
            if not least <= number <= most:
                bound = f"at least {least}" if number < least else f"at most {most}"
                raise ValueError(f"expected {bound}, got {shown(number)}")
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            raise ValueError(f"expected names of loops, got {shown(value)}")
        return value

    number = {"type": "integer", "minimum": least, "maximum": most}
    either = [number, {"type": "object", "additionalProperties": number}]
    return BeforeValidator(check), _says(f"{what}, {least} to {most}", anyOf=either)


# Texts --------------------------------------------------------------------------------------------


def _matches(pattern: str, expected: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """`pattern` has to mean the same in Python and in JavaScript."""
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        if not isinstance(value, str) or compiled.fullmatch(value) is None:
            raise ValueError(f"expected {expected}, got {shown(value)}")
        return value

    says = _says(expected, type="string", pattern=_whole_word(pattern))
    return BeforeValidator(check), says


def _format(value: object) -> str:
    if not isinstance(value, str) or value not in units.FORMATS:
        raise ValueError(f"expected one of {', '.join(units.FORMATS)}, got {shown(value)}")
    return value


Name = Annotated[
    str, *_matches(r"[A-Za-z][A-Za-z0-9_]*", "a name (letters, digits, _; a letter first)")
]
ModelName = Annotated[
    str, *_matches(r"[A-Za-z][A-Za-z0-9_.-]*", "a name (letters, digits, _ - .; a letter first)")
]
Rank = Annotated[str, *_matches(r"[A-Z][A-Z0-9]*", "a rank name such as M or M1")]
Text = Annotated[str, *_matches(r"\s*\S[\s\S]*", "a text that is not empty")]
Format = Annotated[
    str, BeforeValidator(_format), _says("a number format", enum=list(units.FORMATS))
]

# Numbers that need not be whole -------------------------------------------------------------------


def _number(value: object) -> float:
    """A number; YAML reads `-inf` as a word, so words for infinity are taken too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected a number, got {shown(value)}")
    if isinstance(value, str) and value not in {"inf", "-inf"}:
        raise ValueError(f"expected a number, 'inf' or '-inf', got {shown(value)}")
    if value != value:
        raise ValueError("expected a number, got NaN")
    return float(value)


_FRACTION = re.compile(r"-?[0-9]{1,18}(\.[0-9]{0,30}|/[0-9]{1,18})?([eE][-+]?[0-9]{1,2})?")


def _fraction(value: object, expected: str) -> Fraction:
    """A number as it is written, or two whole numbers such as 1/129; exact."""
    try:
        if isinstance(value, bool) or _FRACTION.fullmatch(str(value)) is None:
            raise ValueError
        return Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"expected {expected}, got {shown(value)}") from None


def _part(value: object) -> Fraction:
    """A share from 0 to below 1."""
    part = _fraction(value, "a share such as 0.25 or 1/129")
    if not 0 <= part < 1:
        raise ValueError(f"expected a share from 0 to below 1, got {shown(value)}")
    return part


def _share(value: object) -> Fraction:
    """A share above 0, up to all."""
    share = _fraction(value, "a share such as 0.9 or 2/3")
    if not 0 < share <= 1:
        raise ValueError(f"expected a share above 0 and up to 1, got {shown(value)}")
    return share


def _rate(value: object) -> Fraction:
    """A factor above 0."""
    rate = _fraction(value, "a number such as 2, 0.5 or 2/3")
    if rate <= 0:
        raise ValueError(f"expected a number above 0, got {shown(value)}")
    if rate >= 10**18:
        raise ValueError(f"expected a number below 10^18, got {shown(value)}")
    return rate


def _fractions(expected: str, **bounds: float) -> WithJsonSchema:
    pattern = _whole_word(_FRACTION.pattern)
    return _says(expected, type=["number", "string"], pattern=pattern, **bounds)


Number = Annotated[
    float,
    BeforeValidator(_number),
    _says("a number, inf or -inf", anyOf=[{"type": "number"}, {"enum": ["inf", "-inf"]}]),
]
Part = Annotated[
    Fraction,
    BeforeValidator(_part),
    _fractions("a share from 0 to below 1, such as 0.25 or 1/129", minimum=0, exclusiveMaximum=1),
]
Share = Annotated[
    Fraction,
    BeforeValidator(_share),
    _fractions("a share above 0, up to 1, such as 0.9 or 2/3", exclusiveMinimum=0, maximum=1),
]
Rate = Annotated[
    Fraction,
    BeforeValidator(_rate),
    _fractions(
        "a number above 0, such as 2, 0.5 or 2/3", exclusiveMinimum=0, exclusiveMaximum=10**18
    ),
]

# Quantities ---------------------------------------------------------------------------------------


def _quantity(kind: str) -> tuple[BeforeValidator, WithJsonSchema]:
    example = units.EXAMPLES[kind]
    says = _says(
        f"a {kind} with its unit, such as {example!r}",
        type="string",
        pattern=_whole_word(units.QUANTITY),
        examples=[example],
    )
    return BeforeValidator(lambda text: units.parse(text, kind)), says


Capacity = Annotated[Fraction, *_quantity("capacity")]
Frequency = Annotated[Fraction, *_quantity("frequency")]
Bandwidth = Annotated[Fraction, *_quantity("bandwidth")]
Energy = Annotated[Fraction, *_quantity("energy")]
Area = Annotated[Fraction, *_quantity("area")]
Time = Annotated[Fraction, *_quantity("time")]

# Of workloads -------------------------------------------------------------------------------------

SEQ_LEN = re.compile(r"(?:([1-9][0-9]{0,17})\s*\*\s*)?seq_len(?:\s*-\s*([0-9]{1,18}))?")
_OF_SEQ_LEN = "seq_len, or one made of it such as 64 * seq_len or seq_len - 1"


def _of_seq_len(
    number: Callable[[object], int], bounds: dict[str, int]
) -> tuple[BeforeValidator, WithJsonSchema]:
    """A whole number, or a text that a sequence length makes one."""

    def check(value: object) -> Any:
        if isinstance(value, str) and SEQ_LEN.fullmatch(value) is None:
            raise ValueError(f"expected a whole number, {_OF_SEQ_LEN}, got {shown(value)}")
        return value if isinstance(value, str) else number(value)

    says = _says(
        f"a whole number, {_OF_SEQ_LEN}",
        type=["integer", "string"],
        pattern=_whole_word(SEQ_LEN.pattern),
        **bounds,
    )
    return BeforeValidator(check), says


def _listed(value: object) -> Any:
    """What it holds is looked at later, entry by entry (workload.py)."""
    if not isinstance(value, list):
        raise ValueError(f"expected a list of whole numbers, or of lists, got {shown(value)}")
    return value


RankShape = Annotated[int | str, *_of_seq_len(_shape, _ONE_ON)]
ParameterValue = Annotated[int | str, *_of_seq_len(_whole, _ANY_WHOLE)]
TableEntries = Annotated[
    list[Any],
    BeforeValidator(_listed),
    _says("a list of whole numbers, or of lists", type="array"),
]
