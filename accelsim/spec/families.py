"""What is known of models by their `model_type`: where their config.json is not as Llama's.

Names and defaults are those of the configuration classes in github.com/huggingface/transformers,
src/transformers/models/*/configuration_*.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

HIDDEN = "hidden_size"
HEADS = "num_attention_heads"
GROUPS = "num_key_value_heads"
LAYERS = "num_hidden_layers"
FFN = "intermediate_size"
WIDTH = "head_dim"
WINDOW = "sliding_window"


@dataclass(frozen=True)
class Family:
    """Models whose configs are read alike.

    names: a field of Llama's config -> its name here, where that is another.
    needs: fields that have no default that follows from others. Without `head_dim`, it is
    hidden_size / heads; without `num_key_value_heads`, every head has keys of its own.
    ffn: the FFN's width in hidden_size, where the config gives none (0: it has to).
    causal: a query sees no later key. rotary: RoPE turns all of a head's width. multi_query: with
    a field of that name, true where all heads share their keys.
    windows: layers with a sliding window, where `layer_types` does not say: `none`, `all`,
    `later` (from `max_window_layers` on), `pattern` (all but each `pattern`-th), or `said`:
    only `layer_types` can say.
    defaults: of the class. A config that is part of another is written without what equals them.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = (HIDDEN, HEADS, LAYERS, FFN)
    ffn: int = 0
    causal: bool = True
    rotary: bool = True
    multi_query: bool = False
    windows: Literal["none", "all", "later", "pattern", "said"] = "none"
    pattern: int = 0
    defaults: Mapping[str, int] = field(default_factory=dict)


def _sizes(
    hidden: int, ffn: int, layers: int, heads: int, groups: int, **more: int
) -> dict[str, int]:
    return {HIDDEN: hidden, FFN: ffn, LAYERS: layers, HEADS: heads, GROUPS: groups, **more}


LLAMA = Family(defaults=_sizes(4096, 11008, 32, 32, 32))
GROUPED = Family(needs=(HIDDEN, HEADS, GROUPS, LAYERS, FFN))
UNKNOWN = replace(GROUPED, windows="said")
"""Of a model_type that is not in the table: Llama's layout, with nothing that goes unsaid."""

MISTRAL = replace(
    GROUPED, windows="all", defaults=_sizes(4096, 14336, 32, 32, 8, sliding_window=4096)
)
QWEN_MOE = replace(GROUPED, windows="said")
QWEN2 = replace(GROUPED, windows="later", defaults=_sizes(4096, 22016, 32, 32, 32))
QWEN3 = replace(
    QWEN2, needs=(*GROUPED.needs, WIDTH), defaults=_sizes(4096, 22016, 32, 32, 32, head_dim=128)
)
GEMMA = replace(
    GROUPED,
    needs=(*GROUPED.needs, WIDTH),
    defaults=_sizes(3072, 24576, 28, 16, 16, head_dim=256),
)
GEMMA2 = replace(
    GEMMA,
    windows="pattern",
    pattern=2,
    defaults=_sizes(2304, 9216, 26, 8, 4, head_dim=256, sliding_window=4096),
)
GPT2 = Family(
    names={HIDDEN: "n_embd", HEADS: "n_head", LAYERS: "n_layer", FFN: "n_inner"},
    needs=(HIDDEN, HEADS, LAYERS),
    ffn=4,
    rotary=False,
)
BERT = Family(causal=False, rotary=False)

FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("llama", "cohere", "granite", "olmo", "olmo2"), LLAMA),
    **dict.fromkeys(("deepseek_v2", "deepseek_v3"), LLAMA),  # MLA is told by its fields
    "mistral": MISTRAL,
    **dict.fromkeys(("mixtral", "starcoder2"), replace(MISTRAL, defaults={})),
    "phi3": replace(MISTRAL, needs=LLAMA.needs, defaults={}),
    "qwen2": QWEN2,
    "qwen2_vl": replace(QWEN2, defaults=_sizes(8192, 29568, 80, 64, 8)),
    "qwen2_5_vl": replace(QWEN2, defaults={}),
    "qwen3": QWEN3,
    "qwen2_moe": QWEN_MOE,
    "qwen3_moe": replace(QWEN_MOE, needs=QWEN3.needs),
    "gemma": GEMMA,
    "gemma2": GEMMA2,
    "gemma3": replace(GEMMA2, pattern=6),
    "cohere2": replace(LLAMA, windows="pattern", pattern=4, defaults={}),
    "gpt_oss": replace(GROUPED, windows="pattern", pattern=2),
    **dict.fromkeys(("gpt2", "gptj", "codegen"), GPT2),
    "gpt_bigcode": replace(GPT2, multi_query=True),
    "bloom": replace(GPT2, names={HEADS: "n_head", LAYERS: "n_layer"}),
    "falcon": replace(
        GPT2,
        names={HEADS: "n_head", LAYERS: "n_layer", GROUPS: "num_kv_heads", FFN: "ffn_hidden_size"},
        rotary=True,
        multi_query=True,
    ),
    "gpt_neox": Family(rotary=False),
    "phi": Family(rotary=False),
    "opt": Family(names={FFN: "ffn_dim"}, rotary=False),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "albert"), BERT),
    **dict.fromkeys(("electra", "vit"), BERT),
    "distilbert": replace(
        BERT, names={HIDDEN: "dim", HEADS: "n_heads", LAYERS: "n_layers", FFN: "hidden_dim"}
    ),
    "xlm": replace(
        BERT,
        names={HIDDEN: "emb_dim", HEADS: "n_heads", LAYERS: "n_layers"},
        needs=GPT2.needs,
        ffn=4,
    ),
    "t5": replace(
        BERT,
        names={
            HIDDEN: "d_model",
            HEADS: "num_heads",
            LAYERS: "num_layers",
            FFN: "d_ff",
            WIDTH: "d_kv",
        },
        needs=(*BERT.needs, WIDTH),
    ),
}


def family_of(model_type: str) -> Family | None:
    """The family of a `model_type`, be it the text part of one; None if it is not known."""
    return FAMILIES.get(model_type.removesuffix("_model").removesuffix("_text"))
