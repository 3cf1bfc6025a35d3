"""Where the inputs of an execution come from: a seed, .npy and .safetensors files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from accelsim.cascade import Cascade
from accelsim.cascade.points import Array
from accelsim.errors import AccelsimError, Fault, nearest
from accelsim.execute.memory import shape_in_words
from accelsim.execute.run import Sizes
from accelsim.files import check_output, write_output

_TYPES: dict[str, Any] = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16},
    **{"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2},
    **{"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8},
    **{"U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_},
}
"""Types of values as safetensors names them."""
SUFFIX = ".safetensors"
MOST_NAMED = 8
"""Names in a file that a message lists."""
_MAGIC = b"\x93NUMPY"


def drawn(own: Sizes, seed: int, scale: Mapping[str, float] | None = None) -> dict[str, Array]:
    """Inputs from a seed: standard normal; of one rank, as slopes are, even from 0 to 1.

    scale: input -> what its values are multiplied by. Raises AccelsimError for no input.
    """
    factors = scale or {}
    for name in factors:
        if name not in own.cascade.inputs:
            message = f"scale: {name} is no input of {own.cascade.name}"
            raise AccelsimError(Fault(message, help=nearest(name, own.cascade.inputs)))
    generator, memory = np.random.default_rng(seed), own.empty()
    shapes = {name: memory.input_shape(name) for name in own.cascade.inputs}
    values = {
        name: generator.standard_normal(shape) if len(shape) > 1 else generator.random(shape)
        for name, shape in shapes.items()
    }
    with np.errstate(over="ignore"):
        scaled = {name: factors.get(name, 1.0) * own for name, own in values.items()}
    for name, own_values in scaled.items():
        if not np.isfinite(own_values).all():
            raise AccelsimError(f"scale: {name}={factors[name]:g} makes values that are infinite")
    return scaled


def from_files(given: Sequence[str], own: Sizes) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
    """Inputs from files, and notes on what of them is no input.

    given: NAME=FILE.npy for one tensor, or FILE.safetensors for those of its names. Raises
    AccelsimError: a file that cannot be read, a name that is no input or comes twice.
    """
    wanted = own.cascade.inputs
    found: dict[str, npt.NDArray[Any]] = {}
    held, notes = list[str](), list[str]()
    for text in given:
        read, others = _read(text, own.cascade)
        shown = {name: values.shape for name, values in read.items()} | others
        held.append(f"{text} has {_listed([_of_shape(*one) for one in shown.items()])}")
        if others:
            notes.append(f"{text}: not used: {_listed(list(others))}")
        for name, values in read.items():
            if name in found:
                raise AccelsimError(f"input {name} is given twice")
            found[name] = values
    missing = [name for name in wanted if given and name not in found]
    if missing:
        expected = "; ".join(f"{name}: {own.empty().expected(name)}" for name in missing)
        which = (
            f"input {missing[0]} is" if len(missing) == 1 else f"inputs {', '.join(missing)} are"
        )
        message = f"{which} in none of the files; expected {expected}"
        raise AccelsimError(Fault(message, help=tuple(held)))
    return found, notes


def _read(
    text: str, cascade: Cascade
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, tuple[int, ...]]]:
    """Inputs that one word names, and shapes of what else is in its file."""
    name, equals, path = text.partition("=")
    expected = "NAME=FILE.npy or FILE.safetensors"
    if not equals:
        if text.endswith(".npy"):
            message = f"{text}: say which input it is, such as {cascade.inputs[0]}={text}"
            raise AccelsimError(message)
        if not text.endswith(SUFFIX):
            raise AccelsimError(f"input: expected {expected}, got {text!r}")
        return _safetensors(Path(text), cascade.inputs)
    if not name or not path:
        raise AccelsimError(f"input: expected {expected}, got {text!r}")
    if name not in cascade.inputs:
        help = nearest(name, cascade.inputs)
        raise AccelsimError(Fault(f"{name} is no input of {cascade.name}", help=help))
    if path.endswith(SUFFIX):
        message = f"{text}: a {SUFFIX} file has names of its own"
        raise AccelsimError(f"{message}: give it without {name}=")
    return {name: _npy(Path(path))}, {}


def _npy(path: Path) -> npt.NDArray[Any]:
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise AccelsimError(f"{path}: is no .npy file; expected one, as np.save writes it")
            file.seek(0)
            found: npt.NDArray[Any] = np.load(file, allow_pickle=False)
            return found
    except (OSError, ValueError, EOFError, MemoryError) as error:
        said = _said(error)
        if "pickle" in said:  # no advice to load it all the same
            said = "its values are objects; expected numbers"
        raise AccelsimError(f"{path}: cannot be read as .npy: {said}") from None


def _safetensors(
    path: Path, wanted: Sequence[str]
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, tuple[int, ...]]]:
    """Tensors of the names that are wanted; shapes of the others."""
    try:
        entries = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except (OSError, MemoryError, safetensors.SafetensorError) as error:
        raise AccelsimError(f"{path}: cannot be read as {SUFFIX}: {_said(error)}") from None
    found, others = {}, {}
    for name, entry in sorted(entries, key=itemgetter(0)):
        if name not in wanted:
            others[name] = tuple(entry["shape"])
            continue
        if entry["dtype"] not in _TYPES:
            known = ", ".join(_TYPES)
            raise AccelsimError(
                f"{path}: {name} has values of type {entry['dtype']}; expected one of {known}"
            )
        values = np.frombuffer(entry["data"], _TYPES[entry["dtype"]])
        values = values.reshape(entry["shape"])
        found[name] = values if values.dtype.kind in "fiub" else values.astype(np.float64)
    return found, others


def _said(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


def _of_shape(name: str, shape: tuple[int, ...]) -> str:
    return f"{name} ({shape_in_words(shape)})"


def _listed(words: Sequence[str]) -> str:
    """With commas, the first few of many."""
    more = len(words) - MOST_NAMED
    shown = ", ".join(words[:MOST_NAMED]) or "nothing"
    return shown if more <= 0 else f"{shown} and {more:,} more"


def check_save(path: Path) -> None:
    """Raise AccelsimError if outputs cannot be written there; makes nothing."""
    if path.suffix != SUFFIX:
        raise AccelsimError(f"{path}: outputs are written as {SUFFIX}; expected such a name")
    check_output(path)


def write_safetensors(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write tensors as float64. Raises AccelsimError."""
    contiguous = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    write_output(path, safetensors.numpy.save(contiguous))
