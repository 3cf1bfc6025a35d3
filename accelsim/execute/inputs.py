"""Where the inputs of an execution come from: a seed, .npy and .safetensors files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from accelsim.execute.run import Sizes
from accelsim.files import check_output

_TYPES: dict[str, Any] = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16},
    **{"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2},
    **{"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8},
    **{"U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_},
}
"""Types of values as safetensors names them."""


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
    return {name: factors.get(name, 1.0) * own for name, own in values.items()}


def from_files(
    given: Sequence[str], cascade: Cascade
) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
    """Inputs from files, and notes on what of them is no input.

    given: NAME=FILE.npy for one tensor, or FILE.safetensors for those of its names. Raises
    AccelsimError: a file that cannot be read, a name that is no input or comes twice.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    notes = []
    for text in given:
        name, equals, path = text.partition("=")
        if not equals and text.endswith(".npy"):
            message = f"{text}: say which input it is, such as {cascade.inputs[0]}={text}"
            raise AccelsimError(message)
        read = {name: _npy(Path(path))} if equals else _safetensors(Path(text))
        if equals and name not in cascade.inputs:
            help = nearest(name, cascade.inputs)
            raise AccelsimError(Fault(f"{name} is no input of {cascade.name}", help=help))
        others = [own for own in read if own not in cascade.inputs]
        if others:
            notes.append(f"{text}: not used: {', '.join(others)}")
        for own, values in read.items():
            if own in found:
                raise AccelsimError(f"input {own} is given twice")
            if own in cascade.inputs:
                found[own] = values
    for name in cascade.inputs:
        if given and name not in found:
            known = ", ".join(cascade.inputs)
            raise AccelsimError(f"input {name} is in none of the files; expected {known}")
    return found, notes


def _npy(path: Path) -> npt.NDArray[Any]:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise AccelsimError(f"{path}: cannot be read as .npy: {_said(error)}") from None
    if not isinstance(found, np.ndarray):
        raise AccelsimError(f"{path}: expected one array, as np.save writes it")
    return found


def _safetensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        entries = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except (OSError, safetensors.SafetensorError) as error:
        raise AccelsimError(f"{path}: cannot be read as .safetensors: {_said(error)}") from None
    found = {}
    for name, entry in entries:
        if entry["dtype"] not in _TYPES:
            raise AccelsimError(
                f"{path}: {name} has values of type {entry['dtype']}, not read here"
            )
        values = np.frombuffer(entry["data"], _TYPES[entry["dtype"]])
        values = values.reshape(entry["shape"])
        found[name] = values if values.dtype.kind in "fiub" else values.astype(np.float64)
    return found


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


def write_safetensors(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write tensors as float64. Raises AccelsimError."""
    check_output(path)
    contiguous = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(safetensors.numpy.save(contiguous))
    except OSError as error:
        raise AccelsimError(f"{path}: cannot be written: {error.strerror}") from None
