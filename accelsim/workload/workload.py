"""Rank shapes of a run: a model file and a sequence length."""

from __future__ import annotations

from accelsim.errors import AccelsimError
from accelsim.spec import Document
from accelsim.spec.records import MAX_SHAPE, SEQ_LEN, WorkloadSpec


def shapes(document: Document[WorkloadSpec], seq_len: int | None) -> dict[str, int]:
    """Shape of every rank that the workload gives, `seq_len` put in, and its parameters.

    Raises AccelsimError.
    """
    spec = document.spec
    if seq_len is not None and (isinstance(seq_len, bool) or not isinstance(seq_len, int)):
        raise AccelsimError(f"seq_len: expected a whole number, got {seq_len!r}")
    if seq_len is not None and not 1 <= seq_len <= MAX_SHAPE:
        raise AccelsimError(f"--seq-len: expected a number from 1 to 2^62, got {seq_len}")
    open_ranks = [rank for rank, shape in spec.ranks.items() if isinstance(shape, str)]
    if open_ranks and seq_len is None:
        message = f"{spec.workload} leaves {', '.join(open_ranks)} to the sequence length"
        raise AccelsimError(f"{message}: give --seq-len N")
    if seq_len is not None and not open_ranks:
        message = f"{spec.workload} fixes every rank; --seq-len {seq_len} would have no effect"
        raise AccelsimError(message)
    found = {rank: _shape(shape, seq_len or 0) for rank, shape in spec.ranks.items()}
    return found | spec.parameters


def _shape(shape: int | str, seq_len: int) -> int:
    match = SEQ_LEN.fullmatch(str(shape))
    return int(shape) if match is None else int(match[1] or 1) * seq_len
