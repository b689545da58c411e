"""A model folder without a model: the simulated workers need a tokenizer and a shape, and no weights.

One word is one token, so that a client knows how long its prompts are; every token of the vocabulary is a word, so
that a client sees each token of an answer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VOCABULARY = 32_000
WORDS = range(10, VOCABULARY)
"""Numbers n of the words ``wn``; the first tokens are special."""
TEMPLATE_TOKENS = 2
"""What the chat template adds to the words of a single message."""
MAX_TOKENS = 131_072
_SPECIAL = ("<unk>", "<s>", "</s>", "<user>", "<reply>")
_TEMPLATE = (
    "{% for message in messages %}<user> {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<reply>{% endif %}"
)


def write(folder: Path) -> None:
    """Write the model into ``folder``."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    words = [*_SPECIAL, *(f"w{n}" for n in range(len(_SPECIAL), VOCABULARY))]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>",
        "model_max_length": MAX_TOKENS, "clean_up_tokenization_spaces": False, "chat_template": _TEMPLATE,
    })  # fmt: skip
    _write(folder / "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY,
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16",
    })  # fmt: skip
    _write(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
