"""Attention calls of a torch module, seen while it runs. The only module that imports torch.

On torch's device `meta`, the default, tensors have a shape and no values: a model of any size
needs no memory. Calls are seen as torch functions, before they are taken apart; inside
`multi_head_attention_forward`, which torch does not look into, by the name that it calls.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import linecache
import math
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from accelsim.errors import AccelsimError, Fault, Position, nearest
from accelsim.workload.calls import Call

ATTENTION = functional.scaled_dot_product_attention
MULTI_HEAD = functional.multi_head_attention_forward
EXPECTED = "expected FILE.py:NAME or PACKAGE.MODULE:NAME"
_INPUT = re.compile(r"(\d+(?:x\d+)*)(?::(\w+))?")


def trace(target: str, inputs: Sequence[str] = (), device: str = "meta") -> dict[Call, int]:
    """Every distinct call of attention that a module makes -> how often it makes it.

    target: FILE.py:NAME or PACKAGE.MODULE:NAME of a module, or of what returns one without
    arguments: MODULE, (MODULE, ARGS) or (MODULE, ARGS, KWARGS), as torch.export takes them.
    inputs: shapes such as 1x128x512 or 1x128:int64, instead of ARGS. device: meta or cpu.
    Raises AccelsimError, with the line of the user's file where that fails.
    """
    if device not in ("meta", "cpu"):
        raise AccelsimError(f"--device: expected meta or cpu, got {device!r}")
    given = [_input(text, device) for text in inputs]
    seen = _Seen()
    with contextlib.redirect_stdout(sys.stderr), _said(target, device), torch.device(device):
        module, args, kwargs = _made(target, _found(target))
        module = module.to(device)
        args, kwargs = _moved(given or args, device), _moved(kwargs, device)
        with torch.no_grad(), torch.compiler.set_stance("force_eager"), seen:
            module(*args, **kwargs)
    if not seen.calls:
        raise AccelsimError(
            f"{target}: no call of scaled_dot_product_attention was seen; attention written in "
            "other functions, or compiled by torch.jit, is not"
        )
    return dict(seen.calls)


class _Seen(TorchFunctionMode):
    """Counts calls of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[Call] = Counter()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func is ATTENTION:
            return self._attention(*args, **named)
        if func is MULTI_HEAD:
            whole = inspect.signature(func).bind(*args, **named).arguments
            with _instead(self._attention):
                out = func(**{**whole, "need_weights": False})
            # Asked for its weights, it computes the same attention in other functions.
            return func(**whole) if whole.get("need_weights", True) else out
        return func(*args, **named)

    def _attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **more: Any,
    ) -> torch.Tensor:
        if query.is_nested or key.is_nested or value.is_nested:
            raise AccelsimError("attention of nested tensors, of no one length, is not read")
        # (..., heads, length, width); two axes: one head
        q, k, v = (t if t.dim() > 2 else t.unsqueeze(0) for t in (query, key, value))
        mask = ""
        if attn_mask is not None:
            mask = f"{_short(attn_mask.dtype)} {'x'.join(map(str, attn_mask.shape))}"
        call = Call(
            batch=math.prod(np.broadcast_shapes(q.shape[:-3], k.shape[:-3])),
            heads=q.shape[-3],
            groups=k.shape[-3],
            queries=q.shape[-2],
            keys=k.shape[-2],
            width=q.shape[-1],
            value_width=v.shape[-1],
            causal=is_causal,
            mask=mask,
            dtype=_short(query.dtype),
        )
        out = ATTENTION(query, key, value, attn_mask, dropout_p, is_causal, **more)
        self.calls[call] += 1  # not if it is refused
        return out


@contextlib.contextmanager
def _instead(attention: Callable[..., Any]) -> Iterator[None]:
    """What torch's own functions call as attention."""
    setattr(functional, ATTENTION.__name__, attention)
    try:
        yield
    finally:
        setattr(functional, ATTENTION.__name__, ATTENTION)


# What the user names ------------------------------------------------------------------------------


def _found(target: str) -> Any:
    """What a target names. Raises AccelsimError."""
    place, _, name = target.rpartition(":")
    if not place or not name:
        raise AccelsimError(f"{target!r}: {EXPECTED}")
    module = _file(Path(place)) if place.endswith(".py") else _package(place)
    if not hasattr(module, name):
        known = [known for known in vars(module) if not known.startswith("_")]
        help = nearest(name, known)
        raise AccelsimError(Fault(f"{place} has no {name!r}", help=help))
    return getattr(module, name)


def _file(path: Path) -> ModuleType:
    made = importlib.util.spec_from_file_location(f"traced_{path.stem}", path)
    if not path.is_file() or made is None or made.loader is None:
        raise AccelsimError(f"no file {str(path)!r}")
    module = importlib.util.module_from_spec(made)
    sys.modules[made.name] = module  # dataclasses look themselves up there
    with _imports_from(path.resolve().parent):
        made.loader.exec_module(module)
    return module


def _package(name: str) -> ModuleType:
    with _imports_from(Path.cwd()):
        if any(not part.isidentifier() for part in name.split(".")):
            raise AccelsimError(f"{name!r}: {EXPECTED}")
        return importlib.import_module(name)


@contextlib.contextmanager
def _imports_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _made(target: str, found: Any) -> tuple[nn.Module, Any, Any]:
    """Module, arguments, keyword arguments. Raises AccelsimError."""
    made = found() if callable(found) and not isinstance(found, nn.Module) else found
    parts = made if isinstance(made, tuple) else (made,)
    module, args, kwargs = [*parts, None, None, None][:3]
    args, kwargs = () if args is None else args, {} if kwargs is None else kwargs
    if isinstance(args, torch.Tensor):
        args = (args,)
    if not (
        isinstance(module, nn.Module)
        and isinstance(args, tuple | list)
        and isinstance(kwargs, dict)
        and len(parts) <= 3
    ):
        expected = "a module, (module, arguments) or (module, arguments, keyword arguments)"
        got = ", ".join(type(part).__name__ for part in parts)
        raise AccelsimError(f"{target}: expected {expected}, got {got or 'nothing'}")
    return module, args, kwargs


def _input(text: str, device: str) -> torch.Tensor:
    match = _INPUT.fullmatch(text)
    kind = getattr(torch, match[2] or "float32", None) if match else None
    if match is None or not isinstance(kind, torch.dtype):
        expected = "expected a shape such as 1x128x512, or 1x128:int64"
        raise AccelsimError(f"--input {text!r}: {expected}")
    return torch.zeros([int(size) for size in match[1].split("x")], dtype=kind, device=device)


def _moved(value: Any, device: str) -> Any:
    """Arguments, with the tensors in them on a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_moved(item, device) for item in value)
    return value


def _short(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


@contextlib.contextmanager
def _said(target: str, device: str) -> Iterator[None]:
    """An error of the user's code as a fault at the line of it that led there."""
    try:
        yield
    except AccelsimError:
        raise
    except (Exception, SystemExit) as error:
        here = (__file__, torch.__file__, importlib.__file__)
        own = (*(str(Path(file).parent) for file in here if file), "<frozen")
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith(own)
        ]
        text = (str(error).splitlines() or [""])[0]
        message = f"{target}: {type(error).__name__}: {text}"
        shapes_only = device == "meta" and (
            "meta" in text or isinstance(error, NotImplementedError)
        )
        help = ("it needs values, not shapes alone: try --device cpu",) if shapes_only else ()
        if isinstance(error, SyntaxError) and error.filename:
            place = Position(error.filename, error.lineno or 1, error.offset or 1)
            raise AccelsimError(Fault(message, place, error.text or "", 1)) from None
        if not frames:
            raise AccelsimError(Fault(message, help=help)) from None
        line = frames[-1].lineno or 1
        excerpt = linecache.getline(frames[-1].filename, line).rstrip()
        place = Position(frames[-1].filename, line, len(excerpt) - len(excerpt.lstrip()) + 1)
        raise AccelsimError(Fault(message, place, excerpt, len(excerpt.lstrip()), help)) from None
