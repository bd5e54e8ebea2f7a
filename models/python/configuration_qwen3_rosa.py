"""The configuration of a Qwen3 with ROSA adapters, as `rosa export` writes it: Qwen3's own keys, and what the adapters are."""

from transformers import Qwen3Config


class Qwen3RosaConfig(Qwen3Config):
    """Every layer attends to a window of `sliding_window` tokens; the layers of `rosa_layers` have an adapter beside it."""

    model_type = "qwen3_rosa"

    rosa_layers: list[int] | None = None  # None: all
    rosa_num_heads: int = 8
    rosa_num_key_value_heads: int = 8  # a divisor of rosa_num_heads
    rosa_query_key_bits: int = 8  # of one symbol, 1 to 63
    rosa_value_bits: int = 8
    rosa_bias: bool = False
    rosa_no_match_embedding: bool = True

    def __post_init__(self, **kwargs):
        self.use_sliding_window = True
        self.layer_types = ["sliding_attention"] * self.num_hidden_layers
        if self.rosa_layers is None:
            self.rosa_layers = list(range(self.num_hidden_layers))
        super().__post_init__(**kwargs)
        if not isinstance(self.sliding_window, int) or self.sliding_window < 1:
            raise ValueError(f"sliding_window is {self.sliding_window}; expected the number of tokens that a token sees")
        if self.rosa_num_heads % self.rosa_num_key_value_heads != 0:
            raise ValueError(f"rosa_num_key_value_heads is {self.rosa_num_key_value_heads}; "
                             f"expected a divisor of rosa_num_heads, which is {self.rosa_num_heads}")
        for name in ("rosa_query_key_bits", "rosa_value_bits"):
            if not 1 <= getattr(self, name) <= 63:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 to 63")


__all__ = ["Qwen3RosaConfig"]
