"""A model's config.json, in the layout of Hugging Face, as the keys of a workload file.

One layer, batch 1. Ranks: B batch, H query heads, G key and value heads, E query and key width
(with latent attention without its rotary part) = I rotary pairs x J, F value width, R latent
width, M keys, P queries, D model width, S FFN width; of linear layers T tokens, N all heads'
values. A decoder has the kinds `prefill` and `decode`; where only some layers have a sliding
window, `prefill_window` and `decode_window` are those.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from accelsim.errors import Fault, SpecError, nearest, shown
from accelsim.spec.families import (
    FAMILIES,
    FFN,
    GROUPS,
    HEADS,
    HIDDEN,
    LAYERS,
    UNKNOWN,
    WIDTH,
    WINDOW,
    family_of,
)
from accelsim.spec.reader import KeyPath, Source
from accelsim.spec.scalars import MAX_SHAPE

PARTS = ("text_config", "llm_config", "language_config")
"""Where a model of several kinds of input keeps its language model."""
LATENT: tuple[str, ...] = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
FULL, SLIDING = "full_attention", "sliding_attention"
PATTERNS = ("sliding_window_pattern", "_sliding_window_pattern")
OTHER_LAYERS = (
    "full_attention_interval",
    "attn_layer_period",
    "attn_layer_offset",
    "attn_layer_indices",
    "attention_chunk_size",
    "layers_block_type",
    "hybrid_override_pattern",
    "ssm_cfg",
    "mamba_d_state",
    "ssm_state_size",
    "linear_num_key_heads",
)
"""Fields of models some of whose layers have no attention, or another: which is for `layer_types`
to say (Qwen3-Next, Jamba, Llama 4, Bamba, Zamba, Nemotron-H, Mamba)."""
MOST_LAYERS = 100_000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


def workload(value: Any, source: Source) -> tuple[dict[str, Any], Source]:
    """The keys of a workload file, and where in the config each comes from.

    Raises SpecError with all fields that are missing or wrong.
    """
    if not isinstance(value, dict):
        raise SpecError(source.fault((), "expected the keys and values of a model's config.json"))
    return _Config(value, source).workload()


class _Config:
    """A config that is being read.

    config: the keys of the language model. within: the path to them. said: fields that were read,
    with their numbers. at: key of the workload -> path in the file.
    """

    def __init__(self, whole: dict[str, Any], source: Source) -> None:
        self.whole = whole
        self.source = source
        part = next((name for name in PARTS if isinstance(whole.get(name), dict)), None)
        self.within: KeyPath = () if part is None else (part,)
        self.config: dict[str, Any] = whole if part is None else whole[part]
        self.model_type = str(self.config.get("model_type", whole.get("model_type", "")))
        known = family_of(self.model_type)
        self.family = known or UNKNOWN
        self.known = known is not None
        self.faults: list[Fault] = []
        self.said: list[str] = []
        self.at: dict[KeyPath, KeyPath] = {}

    def workload(self) -> tuple[dict[str, Any], Source]:
        latent = self.config.get(LATENT[0]) is not None
        if self.whole.get("is_encoder_decoder") is True and not self.known:
            self._fault(
                "is_encoder_decoder",
                "a model of encoder and decoder is not read; write a workload of the part meant",
            )
        self._missing(latent)
        ranks = self._ranks(latent)
        layers = self._layers()
        counts = Counter(layers)
        window = self._number(WINDOW) if counts[SLIDING] else None
        causal = self._causal()
        if window is not None and not causal:
            self._fault(WINDOW, "a window to both sides is not read; no cascade has one")
        if self.faults:
            raise SpecError(self.faults)
        out: dict[str, Any] = {
            "workload": self._name(),
            "description": self._description(counts, latent),
            "source": self._source(),
            "ranks": ranks,
        }
        if causal:
            out |= _kinds(counts, window)
        else:
            ranks |= {"P": "seq_len", "T": "seq_len"}
            out["parameters"] = {"offset": "seq_len - 1"}
        return out, self._placed()

    # Fields ---------------------------------------------------------------------------------------

    def _called(self, field: str) -> str:
        """What this config calls a field of Llama's: by that name, if it is there, or its own."""
        own = self.family.names.get(field, field)
        return field if self.config.get(field) is not None else own

    def _missing(self, latent: bool) -> None:
        """One fault for all fields that are not there: which are needed, and which are missing."""
        needed: Sequence[str] = self.family.needs
        if latent:
            needed = (*(field for field in needed if field not in (GROUPS, WIDTH)), *LATENT)
        names = [self._called(field) for field in needed]
        missing = [
            name for name, field in zip(names, needed, strict=True) if not self._given(name, field)
        ]
        if not missing:
            return
        help: tuple[str, ...] = (f"needed: {', '.join(names)}",)
        if not self.known:
            kind = f"architecture {self.model_type!r} is not known"
            kind = kind if self.model_type else "no `model_type`"
            help = (f"{kind}: read as Llama's layout; {help[0]}",)
            help = (*help, *(nearest(self.model_type, FAMILIES) if self.model_type else ()))
        message = f"not a model's config that can be read; missing: {', '.join(missing)}"
        self.faults.append(self.source.fault(self.within, message, help=help, key=True))

    def _given(self, name: str, field: str) -> bool:
        """Whether a field is there; null says as much as nothing where others tell the number."""
        if name in self.config:
            return self.config[name] is not None or field in (GROUPS, WIDTH)
        return bool(self.within) and field in self.family.defaults

    def _number(self, field: str, default: int | None = None, least: int = 1) -> int | None:
        """A whole number; a default where it is null or not there. Notes what is wrong."""
        name = self._called(field)
        value = self.config.get(name)
        if value is None:
            if not self.within or name in self.config or field not in self.family.defaults:
                return default
            value = self.family.defaults[field]
            self.said.append(f"{name} {value} (the default)")
        elif (
            isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_SHAPE
        ):
            expected = f"expected a whole number of at least {least}"
            self._fault(name, f"{name}: {expected}, got {shown(value)}")
            return None
        else:
            self.said.append(f"{name} {value}")
        return int(value)

    def _fault(self, field: str, message: str, *index: int) -> None:
        self.faults.append(self.source.fault((*self.within, field, *index), message))

    # Ranks ----------------------------------------------------------------------------------------

    def _ranks(self, latent: bool) -> dict[str, int | str]:
        hidden, heads = self._number(HIDDEN), self._number(HEADS)
        ffn = self._number(FFN, self.family.ffn * (hidden or 0) or None)
        groups = self._groups(heads)
        fields = {"H": HEADS, "G": GROUPS, "D": HIDDEN, "S": FFN}
        found: dict[str, int | None] = {"B": 1, "H": heads, "G": groups}
        if latent:
            rank, width, turned, value = (self._number(field) for field in LATENT)
            fields |= {"R": LATENT[0], "E": LATENT[1], "I": LATENT[2], "F": LATENT[3]}
            found |= {"E": width, "F": value, **self._pairs(turned, LATENT[2]), "R": rank}
        else:
            width = value = self._width(hidden, heads)
            fields |= {"E": WIDTH, "F": WIDTH, "I": WIDTH}
            found |= {"E": width, "F": width}
            if self._rotary():
                found |= self._pairs(width, WIDTH)
        found |= {"D": hidden, "S": ffn, "N": (heads or 0) * (value or 0)}
        self.at |= {
            ("ranks", rank): (*self.within, self._called(field)) for rank, field in fields.items()
        }
        ranks: dict[str, int | str] = {rank: size or 0 for rank, size in found.items()}
        head = {rank: ranks.pop(rank) for rank in list(ranks) if rank not in "DSN"}
        return {**head, "M": "seq_len", **ranks}

    def _groups(self, heads: int | None) -> int | None:
        shared = self.config.get("multi_query") is True
        if self.family.multi_query and shared and not self.config.get("new_decoder_architecture"):
            return 1
        groups = self._number(GROUPS, heads)
        if heads and groups and heads % groups:
            name = self._called(GROUPS)
            self._fault(name, f"{name}: {groups} key and value heads do not divide {heads} heads")
        return groups

    def _width(self, hidden: int | None, heads: int | None) -> int | None:
        width = self._number(WIDTH)
        if width is not None or self.config.get(self._called(WIDTH)) is not None:
            return width
        if not hidden or not heads:
            return None
        if hidden % heads:
            name = self._called(HIDDEN)
            message = f"{name}: {heads} heads do not divide {hidden}, and {WIDTH} is not given"
            self._fault(name, message)
        return hidden // heads

    def _pairs(self, width: int | None, field: str) -> dict[str, int | None]:
        if width and width % 2:
            self._fault(field, f"{field}: {width} is odd; expected pairs that RoPE turns")
        return {"I": width and width // 2, "J": 2}

    def _rotary(self) -> bool:
        """RoPE turns all of the width, not a part of it only."""
        given = self.config.get("rope_parameters")
        inside = given if isinstance(given, dict) else {}
        share = inside.get("partial_rotary_factor", self.config.get("partial_rotary_factor", 1))
        return self.family.rotary and share in (None, 1)

    # Layers ---------------------------------------------------------------------------------------

    def _causal(self) -> bool:
        if self.config.get("use_bidirectional_attention") is True:
            return False
        return self.family.causal or self.config.get("is_decoder") is True

    def _layers(self) -> list[str]:
        """What attention each layer has."""
        count = self._number(LAYERS) or 0
        if count > MOST_LAYERS:
            name = self._called(LAYERS)
            self._fault(name, f"{name}: expected at most {MOST_LAYERS:,}, got {count:,}")
            return []
        given = self.config.get("layer_types")
        if given is not None:
            return self._said_layers(given, count)
        other = next((name for name in OTHER_LAYERS if self.config.get(name) is not None), None)
        if other is not None and not self.known:
            message = f"{other}: not all layers have attention to all keys; expected `layer_types`"
            self._fault(other, message)
        used = self.config.get("use_sliding_window", self.family.windows != "later")
        window = used and (
            self.config.get(WINDOW) is not None
            or (bool(self.within) and WINDOW in self.family.defaults and WINDOW not in self.config)
        )
        first = count
        match self.family.windows:
            case "all" if window:
                first = 0
            case "later" if window:
                first = self._number("max_window_layers", count, least=0) or 0
            case "pattern" if window:
                name = next((name for name in PATTERNS if self.config.get(name)), PATTERNS[0])
                each = self._number(name, self.family.pattern) or 1
                return [FULL if (at + 1) % each == 0 else SLIDING for at in range(count)]
            case "said" if window:
                self._fault(
                    WINDOW,
                    f"{WINDOW}: which layers have it is not known of {self.model_type!r}; "
                    "expected `layer_types`, or null",
                )
        return [FULL if at < first else SLIDING for at in range(count)]

    def _said_layers(self, given: Any, count: int) -> list[str]:
        if not isinstance(given, list) or len(given) != count:
            got = f"{len(given)}" if isinstance(given, list) else shown(given)
            self._fault("layer_types", f"layer_types: expected a list of {count} names, got {got}")
            return []
        for index, kind in enumerate(given):
            if not isinstance(kind, str):
                message = f"layer_types: expected a name such as {FULL}, got {shown(kind)}"
                self._fault("layer_types", message, index)
        layers = [str(kind) for kind in given]
        if SLIDING in layers and self._number(WINDOW) is None and not self.faults:
            name = "layer_types"
            self._fault(name, f"some layers are {SLIDING}; {WINDOW} is missing")
        if not {FULL, SLIDING} & {*layers}:
            message = f"layer_types: no layer is {FULL} or {SLIDING}; no other is read"
            self._fault("layer_types", message)
        return layers

    # Words ----------------------------------------------------------------------------------------

    def _name(self) -> str:
        """Of the file; of a config.json the model's, or else its `model_type`."""
        stem = PurePath(self.source.name).stem
        whole = str(self.whole.get("_name_or_path") or "").rstrip("/").rpartition("/")[2]
        every = (stem if stem != "config" else "", whole, self.model_type, "model")
        return next(name for name in every if _NAME.fullmatch(name))

    def _description(self, counts: Counter[str], latent: bool) -> str:
        own = self.model_type or "model"
        layers = counts.total()
        text = f"{own}, one of its {layers} layers, "
        if not self.known:
            text = f"{own} (not known: read as Llama's layout), one of its {layers} layers, "
        if latent:
            text += "multi-head latent attention (MLA), "
        text += "batch 1"
        for kind in sorted(counts.keys() - {FULL, SLIDING}):
            text += f"; its {counts[kind]} layers of {kind} are left out"
        return text

    def _source(self) -> str:
        """The fields that were read, as a source."""
        of = str(self.whole.get("_name_or_path") or "")
        start = f"{of}, config.json" if of else PurePath(self.source.name).name
        return f"{start}: {', '.join(dict.fromkeys(self.said))}"

    def _placed(self) -> Source:
        """The source, with the workload's keys where the fields stand that they come from."""
        root: KeyPath = ()
        values, keys = {root: self.source.values[root]}, {}
        for path, field in self.at.items():
            if field in self.source.values:
                values[path] = self.source.values[field]
                keys[path] = self.source.keys[field]
        return dataclasses.replace(self.source, values=values, keys=keys)


def _kinds(counts: Counter[str], window: int | None) -> dict[str, Any]:
    """The keys `parameters` and `kinds` of a decoder."""
    runs = {
        "prefill": ("a prompt of seq_len tokens", "seq_len", 0),
        "decode": ("one query, the last of seq_len tokens", 1, "seq_len - 1"),
    }
    kinds: dict[str, Any] = {}
    mixed = window is not None and counts[FULL] > 0
    for run, (description, queries, offset) in runs.items():
        kinds[run] = {
            "description": description,
            "ranks": {"P": queries, "T": queries},
            "parameters": {"offset": offset},
        }
    if mixed:
        for run in runs:
            kinds[f"{run}_window"] = copy.deepcopy(kinds[run])
        for name, own in kinds.items():
            narrow = name.endswith("_window")
            layers, seen = (SLIDING, f"a window of {window}") if narrow else (FULL, "all keys")
            own["description"] += f"; the {counts[layers]} layers with {seen}"
            own["parameters"]["window"] = window if narrow else "seq_len"
    alone = {"parameters": {"window": window}} if window is not None and not mixed else {}
    return {**alone, "kinds": kinds}
