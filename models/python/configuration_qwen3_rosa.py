"""The configuration of a Qwen3 with ROSA adapters, as `rosa export` writes it: Qwen3's own keys, and what the adapters are."""

from transformers import Qwen3Config


class Qwen3RosaConfig(Qwen3Config):
    """Layers attend to a window of `sliding_window` tokens; those of `rosa_layers` have an adapter beside it."""

    model_type = "qwen3_rosa"

    sliding_window: int | None = None  # tokens that a token sees, itself among them
    use_sliding_window: bool = True
    layer_types: list[str] | None = None
    rosa_layer_windows: list[int] | None = None  # of each layer, 0: global attention; None: sliding_window in all
    rosa_sink_tokens: int = 0  # first tokens of a text that every window sees besides
    rosa_layers: list[int] | None = None  # None: all; num_hidden_layers stands for one before the final norm
    rosa_num_heads: int = 8
    rosa_num_key_value_heads: int = 8  # a divisor of rosa_num_heads
    rosa_query_key_bits: int = 8  # of one symbol, 1 to 63
    rosa_value_bits: int = 8
    rosa_bias: bool = False
    rosa_no_match_embedding: bool = True
    rosa_place: str = "attention"  # or "mlp": where an adapter's output is added
    rosa_gates: list[str] | None = None  # of length, hidden, agreement
    rosa_agreement: str = "tied"  # or "full"
    rosa_mixed_queries: bool = False
    rosa_candidates: str = "latest"  # or "mean" of all places of the longest match
    rosa_output_scale: float = 1.0

    def __post_init__(self, **kwargs):
        self.use_sliding_window = True
        windows = self.rosa_windows()
        self.layer_types = ["sliding_attention" if window > 0 else "full_attention" for window in windows]
        if self.rosa_layers is None:
            self.rosa_layers = list(range(self.num_hidden_layers))
        self.rosa_gates = list(self.rosa_gates or [])
        super().__post_init__(**kwargs)
        if len(windows) != self.num_hidden_layers or min(windows) < 0:
            raise ValueError(f"rosa_layer_windows is {windows}; expected {self.num_hidden_layers} numbers, 0 or more")
        if not isinstance(self.sliding_window, int) or self.sliding_window < 1:
            raise ValueError(f"sliding_window is {self.sliding_window}; expected the number of tokens that a token sees")
        if self.rosa_num_heads % self.rosa_num_key_value_heads != 0:
            raise ValueError(f"rosa_num_key_value_heads is {self.rosa_num_key_value_heads}; "
                             f"expected a divisor of rosa_num_heads, which is {self.rosa_num_heads}")
        for name in ("rosa_query_key_bits", "rosa_value_bits"):
            if not 1 <= getattr(self, name) <= 63:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 to 63")
        for name, known in {"rosa_place": ("attention", "mlp"), "rosa_agreement": ("tied", "full"),
                            "rosa_candidates": ("latest", "mean")}.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected {known[0]} or {known[1]}")
        unknown = set(self.rosa_gates) - {"length", "hidden", "agreement"}
        if unknown:
            raise ValueError(f"rosa_gates names {sorted(unknown)}; expected any of length, hidden and agreement")

    def rosa_windows(self):
        """How many tokens each layer sees, 0: all."""
        return self.rosa_layer_windows or [self.sliding_window or 0] * self.num_hidden_layers


__all__ = ["Qwen3RosaConfig"]
