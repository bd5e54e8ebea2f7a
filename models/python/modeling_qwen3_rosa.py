"""Qwen3 with ROSA adapters in Hugging Face transformers, for folders that `rosa export` writes.

Each layer is Qwen3's with sliding-window attention. An adapter (`rosa_attn`) turns the signs of three projections of the layer's
input into symbols, looks up the longest earlier occurrence of the latest query symbols among the key symbols, and adds what stood
after it, weighed by gates, to the attention's output or to the layer's. That matching is exact and has no window. With a cache it is incremental: a token costs one step.

The matching runs in rosa's shared library, librosa_c, where it is found: named by the environment variable ROSA_C_LIBRARY, in
the model's folder, beside this file, or where the system looks. Without it, plain PyTorch gives the same results in quadratic
time. ROSA_C_LIBRARY=none asks for that.

No gradient passes the matching, so q_proj, k_proj and v_proj of an adapter are not trained here; `rosa train` does that.
"""

import ctypes
import ctypes.util
import json
import os
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, DynamicCache
from transformers.cache_utils import DynamicSlidingWindowLayer
from transformers.models.qwen3.modeling_qwen3 import (
    Qwen3Attention,
    Qwen3DecoderLayer,
    Qwen3ForCausalLM,
    Qwen3Model,
    apply_rotary_pos_emb,
)
from transformers.utils import logging

try:
    from .configuration_qwen3_rosa import Qwen3RosaConfig
except ImportError:  # imported as a plain file, from its own folder
    from configuration_qwen3_rosa import Qwen3RosaConfig

logger = logging.get_logger(__name__)

LIBRARY_VERSION = 1
ADAPTER_FILE = "adapter.safetensors"
ADAPTER_CONFIG_FILE = "adapter_config.json"


# ---- The matchers: librosa_c by ctypes, and the same in PyTorch --------------------------------------------------------------


class Library:
    """librosa_c, opened. Its header, rosa_c.h, says what its functions do."""

    _opened = {}

    def __init__(self, path):
        self.functions = ctypes.CDLL(str(path))
        number, pointer = ctypes.c_int64, ctypes.c_void_p
        for name, arguments in {
            "rosa_stream_create": [number] * 3 + [pointer],
            "rosa_stream_append_full": [pointer, number] + [pointer] * 4 + [ctypes.c_int32] * 2 + [pointer] * 4,
            "rosa_stream_rewind": [pointer, pointer],
            "rosa_stream_select": [pointer, pointer, number, pointer],
            "rosa_stream_save": [pointer, pointer, ctypes.c_size_t, pointer],
            "rosa_stream_load": [pointer, ctypes.c_size_t, pointer],
            "rosa_match_full": [number] * 4 + [pointer] * 4 + [ctypes.c_int32] * 2 + [pointer] * 4,
        }.items():
            function = getattr(self.functions, name)
            function.argtypes, function.restype = arguments, ctypes.c_int32
        self.functions.rosa_stream_free.argtypes, self.functions.rosa_stream_free.restype = [pointer], None
        self.functions.rosa_c_error.argtypes, self.functions.rosa_c_error.restype = [], ctypes.c_char_p
        version = self.functions.rosa_c_version()
        if version != LIBRARY_VERSION:
            raise OSError(f"{path} has version {version} of the interface; this file needs {LIBRARY_VERSION}")

    def call(self, name, *arguments):
        if getattr(self.functions, name)(*arguments) != 0:
            raise RuntimeError(f"{name}: {self.functions.rosa_c_error().decode(errors='replace')}")

    @classmethod
    def find(cls, model_folder):
        """The library for a model of this folder, or None."""
        named = os.environ.get("ROSA_C_LIBRARY", "")
        if named == "none":
            return None
        key = (named, str(model_folder))
        if key not in cls._opened:
            cls._opened[key] = cls(named) if named else cls._search(model_folder)
        return cls._opened[key]

    @classmethod
    def _search(cls, model_folder):
        folders = [Path(model_folder)] if model_folder and Path(model_folder).is_dir() else []
        candidates = [path for folder in (*folders, Path(__file__).parent) for path in sorted(folder.glob("librosa_c.so*"))]
        candidates += [ctypes.util.find_library("rosa_c"), "librosa_c.so.1"]
        for path in candidates:
            try:
                if path is not None:
                    return cls(path)
            except (OSError, AttributeError) as error:
                if isinstance(path, Path):
                    logger.warning(f"{path} can't be used: {error}")
        logger.warning("librosa_c was not found: ROSA matches in plain PyTorch, in quadratic time. "
                       "Name the library by the environment variable ROSA_C_LIBRARY.")
        return None


class Result:
    """Where the library writes what it finds for queries, and the end of the arguments that say so."""

    def __init__(self, query, mean_bits):
        self.lengths = torch.empty(query.shape, dtype=torch.int32)
        self.retrieved = torch.empty(*query.shape, mean_bits) if mean_bits else torch.empty_like(query)
        symbols, means = (None, self.retrieved.data_ptr()) if mean_bits else (self.retrieved.data_ptr(), None)
        self.pointers = mean_bits, symbols, None, self.lengths.data_ptr(), means


class LibraryStream:
    """The matchers of a batch in librosa_c, and their value symbols. Pickled and deep-copied by its bytes."""

    def __init__(self, library, batch, heads, kv_heads):
        self.library = library
        self.handle = ctypes.c_void_p()
        library.call("rosa_stream_create", batch, heads, kv_heads, ctypes.byref(self.handle))

    @classmethod
    def _wrap(cls, library, handle):
        stream = cls.__new__(cls)
        stream.library, stream.handle = library, handle
        return stream

    def append(self, query, key, value, present, mean_bits=0):
        """Symbols [B,heads,n] of the values after the matches, or the means of their mean_bits lowest bits over all places of the
        matches, [B,heads,n,mean_bits]; and the lengths of the matches, [B,heads,n], 0 for none."""
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        present = present.to(torch.uint8).contiguous() if present is not None else None
        result = Result(query, mean_bits)
        self.library.call("rosa_stream_append_full", self.handle, query.shape[2], query.data_ptr(), key.data_ptr(),
                          value.data_ptr(), present.data_ptr() if present is not None else None, num_threads(), *result.pointers)
        return result.retrieved, result.lengths

    def rewind(self, counts):
        self.library.call("rosa_stream_rewind", self.handle, counts.to(torch.int64).contiguous().data_ptr())

    def select(self, rows):
        rows, handle = rows.to(torch.int64).contiguous(), ctypes.c_void_p()
        self.library.call("rosa_stream_select", self.handle, rows.data_ptr(), rows.numel(), ctypes.byref(handle))
        return self._wrap(self.library, handle)

    def __getstate__(self):
        size = ctypes.c_size_t()
        self.library.call("rosa_stream_save", self.handle, None, 0, ctypes.byref(size))
        saved = ctypes.create_string_buffer(size.value)
        self.library.call("rosa_stream_save", self.handle, saved, size.value, ctypes.byref(size))
        return {"bytes": saved.raw}

    def __setstate__(self, state):
        self.handle, self.library = ctypes.c_void_p(), Library.find(None)
        if self.library is None:
            raise RuntimeError("a cache that was saved with librosa_c needs it again: name it by ROSA_C_LIBRARY")
        self.library.call("rosa_stream_load", state["bytes"], len(state["bytes"]), ctypes.byref(self.handle))

    def __deepcopy__(self, memo):
        handle, saved = ctypes.c_void_p(), self.__getstate__()["bytes"]
        self.library.call("rosa_stream_load", saved, len(saved), ctypes.byref(handle))
        return self._wrap(self.library, handle)

    def __del__(self):
        if getattr(self, "handle", None):
            self.library.functions.rosa_stream_free(self.handle)


class TorchStream:
    """The same in plain PyTorch: for every earlier key the length of the match that ends there. Each token costs a pass over
    all keys before it. A row's tokens lie side by side, without what is not present."""

    def __init__(self, batch, heads, kv_heads):
        self.heads, self.kv_heads = heads, kv_heads
        self.sizes = torch.zeros(batch, dtype=torch.int64)
        self.query = torch.zeros(batch, heads, 0, dtype=torch.int64)
        self.key = torch.zeros(batch, kv_heads, 0, dtype=torch.int64)
        self.value = torch.zeros(batch, kv_heads, 0, dtype=torch.int64)
        self.lengths = torch.zeros(batch, heads, 0, dtype=torch.int64)

    def append(self, query, key, value, present, mean_bits=0):
        count, rows = query.shape[2], torch.arange(query.shape[0])
        for name in ("query", "key", "value", "lengths"):
            setattr(self, name, functional.pad(getattr(self, name), (0, count)))
        retrieved = torch.zeros(*query.shape, mean_bits) if mean_bits else torch.zeros_like(query)
        matches = torch.zeros_like(query)
        for t in range(count):
            there = present[:, t].bool() if present is not None else torch.ones(len(rows), dtype=torch.bool)
            at = self.sizes[there]
            for mine, new in ((self.query, query), (self.key, key), (self.value, value)):
                mine[rows[there], :, at] = new[there, :, t]
            found, value_there = self._step(there, query[:, :, t], mean_bits)
            matches[:, :, t] = found * there[:, None]
            matched = matches[:, :, t] > 0
            retrieved[:, :, t] = torch.where(matched[..., None] if mean_bits else matched, value_there, 0)
            self.sizes += there
        return retrieved, matches

    def _step(self, there, query, mean_bits):
        """One token of the rows that are there, the newest key not among those it may match."""
        group = self.heads // self.kv_heads
        width = int(self.sizes.max()) + 1
        keys = self.key[:, :, :width].repeat_interleave(group, 1)
        column = torch.arange(width)
        equal = (keys == query[:, :, None]) & (column < self.sizes[:, None, None])
        lengths = (functional.pad(self.lengths[:, :, : width - 1], (1, 0)) + 1) * equal
        self.lengths[there, :, :width] = lengths[there]
        best, at = (lengths * width + column).max(-1)  # the longest, and of these the latest
        values = self.value[:, :, :width].repeat_interleave(group, 1)
        best = best // width
        if not mean_bits:
            return best, values.gather(2, (at + 1).clamp(max=width - 1)[:, :, None])[:, :, 0]
        places = ((lengths == best[:, :, None]) & (lengths > 0))[:, :, :-1].float()
        bits = (values[:, :, 1:, None] >> torch.arange(mean_bits)) & 1
        return best, (places[..., None] * bits).sum(2) / places.sum(2).clamp(min=1)[..., None]

    def rewind(self, counts):
        if (counts == 0).all():
            return
        kept, present = self.sizes - counts, None
        query, key, value = self.query, self.key, self.value
        self.__init__(len(kept), self.heads, self.kv_heads)
        width = int(kept.max())
        present = torch.arange(width) < kept[:, None]
        self.append(query[:, :, :width], key[:, :, :width], value[:, :, :width], present)

    def select(self, rows):
        selected = TorchStream(len(rows), self.heads, self.kv_heads)
        for name in ("sizes", "query", "key", "value", "lengths"):
            setattr(selected, name, getattr(self, name)[rows].clone())
        return selected


def num_threads():
    return max(1, min(torch.get_num_threads(), 1024))


def make_stream(library, batch, heads, kv_heads):
    return LibraryStream(library, batch, heads, kv_heads) if library is not None else TorchStream(batch, heads, kv_heads)


def match_whole(library, query, key, value, mean_bits):
    """The same for whole sequences without padding, nothing kept."""
    batch, heads, length = query.shape
    if library is None:
        return TorchStream(batch, heads, key.shape[1]).append(query, key, value, None, mean_bits)
    query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    result = Result(query, mean_bits)
    library.call("rosa_match_full", batch, heads, key.shape[1], length, query.data_ptr(), key.data_ptr(), value.data_ptr(), None,
                 num_threads(), *result.pointers)
    return result.retrieved, result.lengths


def pack(logits, heads, bits):
    """[B,T,heads*bits] -> symbols [B,heads,T] on the CPU: the sum of 2^j where logit j is above 0."""
    ones = (logits > 0).unflatten(-1, (heads, bits))
    if bits <= 24:  # exact in float32, and a product with a vector is faster than shifts
        powers = 2.0 ** torch.arange(bits, device=logits.device, dtype=torch.float32)
        symbols = (ones.to(torch.float32) @ powers).to(torch.int64)
    else:
        symbols = (ones.to(torch.int64) << torch.arange(bits, device=logits.device)).sum(-1)
    return symbols.transpose(1, 2).cpu()


# ---- The cache ---------------------------------------------------------------------------------------------------------------


class RosaCacheLayer(DynamicSlidingWindowLayer):
    """The keys and values of the window and of the first tokens, and the matchers of the layer's adapter."""

    def __init__(self, sliding_window, **kwargs):
        super().__init__(sliding_window, **kwargs)
        self.sinks = None  # keys and values of the first tokens of each text, where a window sees them
        self.streams = {}  # of the layer's adapter, and of the one before the final norm
        self.present = None  # bool [B, tokens so far] on the CPU where some are padding

    def append(self, name, library, query, key, value, present, mean_bits):
        if name not in self.streams:
            self.streams[name] = make_stream(library, query.shape[0], query.shape[1], key.shape[1])
        return self.streams[name].append(query, key, value, present, mean_bits)

    def remember_padding(self, before, count, present):
        if present is None and self.present is None:
            return
        batch = (present if present is not None else self.present).shape[0]
        old = self.present if self.present is not None else torch.ones(batch, before, dtype=torch.bool)
        new = present if present is not None else torch.ones(batch, count, dtype=torch.bool)
        self.present = torch.cat([old, new], 1)

    def _select(self, rows):
        rows = torch.as_tensor(rows, device="cpu")
        if self.present is not None:
            self.present = self.present[rows]
        self.streams = {name: stream.select(rows) for name, stream in self.streams.items()}
        if self.sinks is not None:
            self.sinks = [part[rows.to(part.device)] for part in self.sinks]

    def _batch(self):
        return self.keys.shape[0] if self.is_initialized else 0

    def reorder_cache(self, beam_idx):
        super().reorder_cache(beam_idx)
        self._select(beam_idx)

    def batch_select_indices(self, indices):
        self._select(torch.arange(self._batch())[torch.as_tensor(indices, device="cpu")])
        super().batch_select_indices(indices)

    def batch_repeat_interleave(self, repeats):
        self._select(torch.arange(self._batch()).repeat_interleave(repeats))
        super().batch_repeat_interleave(repeats)

    def reset(self):
        super().reset()
        self.streams, self.present, self.sinks = {}, None, None

    def crop(self, tokens_to_remove):
        before = self.get_seq_length()
        super().crop(tokens_to_remove)
        removed = before - self.get_seq_length()
        if removed == 0 or not self._batch():
            return
        counts = torch.full((self._batch(),), removed)
        if self.present is not None:
            counts = self.present[:, -removed:].sum(1)
            self.present = self.present[:, :-removed]
        for stream in self.streams.values():
            stream.rewind(counts)


def prepare_cache(cache, config):
    """A cache that holds the matchers: a new one, or the given one, whose layers are replaced while they are empty."""
    if cache is None:
        cache = DynamicCache(config=config)
    if not isinstance(cache, DynamicCache):
        raise ValueError(f"a Qwen3 with ROSA can't use a {type(cache).__name__}, which has no place for the matchers: "
                         "give it a DynamicCache, or none")
    if len(cache.layers) == config.num_hidden_layers and all(isinstance(layer, RosaCacheLayer) for layer in cache.layers):
        return cache
    if cache.get_seq_length() > 0:
        raise ValueError("the cache holds tokens of another model: start with an empty one")
    recording = any(getattr(layer, "record_past", False) for layer in cache.layers)
    cache.layers = [RosaCacheLayer(window or Window.ALL) for window in config.rosa_windows()]
    cache.layer_class_to_replicate = None
    if recording:
        cache.activate_past_recording()
    return cache


class Forward:
    """What the layers of one forward share."""

    def __init__(self, config, batch, count, past, present):
        self.windows = {window: Window(batch, count, past, window or Window.ALL, config.rosa_sink_tokens if window else 0, present)
                        for window in set(config.rosa_windows())}
        self.layer_windows = config.rosa_windows()
        self.count = count
        self.new_present = present[:, -count:].cpu() if present is not None else None
        # Of the adapters: the input of layer 0's, the norms of all layers with the final one, what the layer at work has
        # retrieved, and the adapter before the final norm.
        self.first_input, self.norms, self.retrieved, self.last_adapter = None, [], None, None
        self.library = None

    def window_of(self, layer):
        return self.windows[self.layer_windows[layer]]


# ---- The layers --------------------------------------------------------------------------------------------------------------


class Window:
    """Who sees whom in one forward, made once and used by every layer with this window."""

    MIN_BLOCK = 32
    ALL = 1 << 40  # the window of a layer that sees all

    def __init__(self, batch, count, past, window, sinks, present):
        """`count` new tokens after `past`; a token sees `window` tokens, and the first `sinks` of its text besides.
        present: bool [B, past + count], None: all are."""
        self.batch, self.count, self.window, self.sinks = batch, count, window, sinks
        self.past = min(past, window - 1)
        # Where each new token stands in its text, [B|1, count]; below 0: padding.
        self.positions = torch.arange(past, past + count)[None]
        if present is not None:
            here = present.long().cumsum(1) - 1
            self.positions = here.masked_fill(~present, -1)[:, -count:].cpu()
        self.present = present[:, -(self.past + count):] if present is not None else None
        self.block = max(window, self.MIN_BLOCK)
        self.in_blocks = 2 * self.block < count
        self._mask = None

    def keep_sinks(self, kept, new):
        """The first tokens of each text, [B,kv_heads,sinks,d]: those that are kept, and those among the new ones."""
        if kept is None:
            kept = new.new_zeros(self.batch, new.shape[1], self.sinks, new.shape[3])
        if int(self.positions[:, 0].min()) >= self.sinks:
            return kept
        place = (self.positions[:, None, :] == torch.arange(self.sinks)[:, None]).to(new.device)  # [B|1, sinks, count]
        taken = torch.matmul(place[:, None].to(new.dtype), new)
        return torch.where(place.any(-1)[:, None, :, None], taken, kept)

    def attend(self, query, key, value, sinks=None):
        """[B,heads,count,d] on keys and values [B,kv_heads,past + count,d], of which only the last are needed. sinks: keys and
        values of the first tokens."""
        key, value = key[:, :, -(self.past + self.count):], value[:, :, -(self.past + self.count):]
        grouped = query.shape[1] != key.shape[1]
        if not self.in_blocks:
            if sinks is not None:
                key, value = [torch.cat([first, x], 2) for first, x in zip(sinks, (key, value))]
            return functional.scaled_dot_product_attention(query, key, value, self._mask_of_rows(query.device), enable_gqa=grouped)
        # Queries in blocks, each with the keys of its block and the one before: what a window costs grows with T, not T^2.
        block, num_blocks = self.block, -(-self.count // self.block)
        after = num_blocks * block - self.count
        query = functional.pad(query, (0, 0, 0, after)).unflatten(2, (num_blocks, block))
        key, value = [functional.pad(x, (0, 0, block - self.past, after)).unfold(2, 2 * block, block).transpose(3, 4)
                      for x in (key, value)]
        if sinks is not None:
            key, value = [torch.cat([first[:, :, None].expand(-1, -1, num_blocks, -1, -1), x], 3)
                          for first, x in zip(sinks, (key, value))]
        query, key, value = [x.transpose(1, 2).flatten(0, 1) for x in (query, key, value)]
        result = functional.scaled_dot_product_attention(query, key, value, self._mask_of_blocks(query.device), enable_gqa=grouped)
        return result.unflatten(0, (self.batch, num_blocks)).transpose(1, 2).flatten(2, 3)[:, :, : self.count]

    def _mask_of_rows(self, device):
        if self._mask is None and not (self.count == 1 and self.present is None and not self.sinks):
            row = torch.arange(self.past, self.past + self.count, device=device)[:, None]
            column = torch.arange(self.past + self.count, device=device)[None, :]
            mask = (column <= row) & (column > row - self.window)
            if self.present is not None:
                # Padding sees itself: a row without any would give NaN.
                mask = (mask & self.present.to(device)[:, None, :]) | (column == row)
                mask = mask[:, None]
            if self.sinks:
                mask = torch.cat([self._sees_sinks(device)[:, None].expand(*mask.shape[:-2] or (1, 1), -1, -1),
                                  mask.expand(*mask.shape[:-2] or (1, 1), -1, -1)], -1)
            self._mask = mask
        return self._mask

    def _sees_sinks(self, device):
        """bool [B|1, count, sinks]: those that lie before the window."""
        return (torch.arange(self.sinks) <= self.positions[:, :, None] - self.window).to(device)

    def _mask_of_blocks(self, device):
        if self._mask is None:
            block, num_blocks = self.block, -(-self.count // self.block)
            row, column = torch.arange(block, device=device)[:, None], torch.arange(-block, block, device=device)[None, :]
            band = (column <= row) & (column > row - self.window)
            there = self.present if self.present is not None else torch.ones(1, self.past + self.count, dtype=torch.bool)
            there = functional.pad(there.to(device), (block - self.past, num_blocks * block - self.count), value=False)
            there = there.unfold(1, 2 * block, block)[:, :, None, :]
            mask = (band & there) | (column == row)
            if self.sinks:
                after = num_blocks * block - self.count
                sees = functional.pad(self._sees_sinks(device), (0, 0, 0, after)).unflatten(1, (num_blocks, block))
                batch = max(mask.shape[0], sees.shape[0])
                mask = torch.cat([part.expand(batch, num_blocks, -1, -1) for part in (sees, mask)], -1)
            self._mask = mask.expand(self.batch, *mask.shape[1:]).flatten(0, 1)[:, None]
        return self._mask


class RosaAdapter(nn.Module):
    """What a layer retrieves: o_proj(v_emb1 where a retrieved bit is 1, v_emb0 where it is 0, v_emb_no_match where nothing
    matched). With gates, each head's part is multiplied by 2 sigmoid(z) before o_proj; z looks at the length of the match, at the
    hidden state, and at whether that says already what was retrieved. Always in float32: a symbol is made of signs."""

    # Where the buckets of match lengths begin: 0, 1, 2, 3, 4, 5-6, 7-8, 9-12, 13-16, 17-32, 33 and more.
    BUCKETS = (1, 2, 3, 4, 5, 7, 9, 13, 17, 33)

    def __init__(self, config, layer_idx):
        super().__init__()
        self.layer_idx = layer_idx
        self.heads, self.kv_heads = config.rosa_num_heads, config.rosa_num_key_value_heads
        self.query_key_bits, self.value_bits = config.rosa_query_key_bits, config.rosa_value_bits
        self.gates, self.is_full = config.rosa_gates, config.rosa_agreement == "full"
        self.mixes_queries = config.rosa_mixed_queries and layer_idx > 0
        self.takes_mean, self.output_scale = config.rosa_candidates == "mean", config.rosa_output_scale
        width, kv_width = self.heads * self.value_bits, self.kv_heads * self.value_bits
        self.q_proj = nn.Linear(config.hidden_size, self.heads * self.query_key_bits, bias=config.rosa_bias)
        self.k_proj = nn.Linear(config.hidden_size, self.kv_heads * self.query_key_bits, bias=config.rosa_bias)
        self.v_proj = nn.Linear(config.hidden_size, kv_width, bias=config.rosa_bias)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=config.rosa_bias)
        self.v_emb0 = nn.Parameter(torch.full((width,), -1.0))
        self.v_emb1 = nn.Parameter(torch.full((width,), 1.0))
        self.v_emb_no_match = nn.Parameter(torch.zeros(width)) if config.rosa_no_match_embedding else None
        num_buckets = len(self.BUCKETS) + 1
        shapes = {}
        if "length" in self.gates:
            shapes["g_len"] = (self.heads, num_buckets)
        if "hidden" in self.gates:
            shapes["g_hidden"] = (self.heads, config.hidden_size)
        if "agreement" in self.gates and self.is_full:
            shapes["g_bil"] = (width, config.hidden_size)
        elif "agreement" in self.gates:
            shapes.update(g_dim=(config.hidden_size,), g_head=(self.heads,))
        if "length" in self.gates and self.is_full:
            shapes["u_len"] = (self.heads, num_buckets, self.value_bits)
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.full(shape, self.gate_start(name))))

    @staticmethod
    def gate_start(name):
        return {"g_dim": 0.1, "g_head": 1.0}.get(name, 0.0)

    def retrieve(self, hidden_states, forward, cache_layer):
        """What the matchers give for the input of the self-attention: bits [B,T,H,M], and lengths of matches [B,T,H], 0 for none."""
        hidden, first_input = hidden_states.float(), forward.first_input
        library, present = forward.library, forward.new_present
        with torch.no_grad():
            query = pack(self.project(self.q_proj, hidden, first_input), self.heads, self.query_key_bits)
            key = pack(self.project(self.k_proj, hidden, first_input), self.kv_heads, self.query_key_bits)
            value = pack(self.project(self.v_proj, hidden, first_input), self.kv_heads, self.value_bits)
            mean_bits = self.value_bits if self.takes_mean else 0
            if cache_layer is not None:
                retrieved, lengths = cache_layer.append(self.layer_idx, library, query, key, value, present, mean_bits)
            elif present is not None:
                stream = make_stream(library, query.shape[0], self.heads, self.kv_heads)
                retrieved, lengths = stream.append(query, key, value, present, mean_bits)
            else:
                retrieved, lengths = match_whole(library, query, key, value, mean_bits)
            # Bits cross to the device packed.
            bits = retrieved.transpose(1, 2).to(hidden.device)
            if not mean_bits:
                bits = (bits[..., None] >> torch.arange(self.value_bits, device=hidden.device)) & 1
            return bits, lengths.transpose(1, 2).to(hidden.device)

    def project(self, projection, hidden, first_input):
        if not self.mixes_queries:
            return linear(hidden, projection)
        first, own = projection.weight.float().chunk(2)
        mixed = torch.cat([functional.linear(first_input.float(), first), functional.linear(hidden, own)], -1)
        return mixed if projection.bias is None else mixed + projection.bias.float()

    def finish(self, retrieved, gate_input):
        """The output [B,T,hidden]. gate_input: the hidden state that the gates look at, normalised."""
        bits, lengths = retrieved
        matched = (lengths > 0)[..., None]
        zero, one = [self.by_head(x) for x in (self.v_emb0, self.v_emb1)]
        values = torch.lerp(zero, one, bits.float())
        if self.v_emb_no_match is not None:
            values = torch.where(matched, values, self.by_head(self.v_emb_no_match))
        if self.gates:
            heads = torch.arange(self.heads, device=lengths.device)
            buckets = torch.bucketize(lengths, torch.tensor(self.BUCKETS, device=lengths.device), right=True)
            if "length" in self.gates and self.is_full:
                values = values + self.u_len.float()[heads, buckets]
            signs = (2 * bits - 1) * matched
            values = values * (2 * torch.sigmoid(self.gate_logits(gate_input.float(), signs, heads, buckets)))[..., None]
        output = linear(values.flatten(2), self.o_proj)
        return output if self.output_scale == 1 else output * self.output_scale

    def gate_logits(self, u, signs, heads, buckets):
        z = torch.zeros(buckets.shape, device=u.device)
        if "length" in self.gates:
            z = z + self.g_len.float()[heads, buckets]
        if "hidden" in self.gates:
            z = z + functional.linear(u, self.g_hidden.float())
        if "agreement" in self.gates and self.is_full:
            z = z + (signs * functional.linear(u, self.g_bil.float()).view(signs.shape)).sum(-1)
        elif "agreement" in self.gates:
            expected = functional.linear(u * self.g_dim.float(), self.o_proj.weight.float().t()).view(signs.shape)
            z = z + self.g_head.float() * (signs * expected).sum(-1)
        return z

    def by_head(self, vector):
        return vector.float().view(self.heads, self.value_bits)


def linear(x, layer):
    return functional.linear(x, layer.weight.float(), layer.bias.float() if layer.bias is not None else None)


class Qwen3RosaAttention(Qwen3Attention):
    """Qwen3's attention in a window, and the adapter on the same input."""

    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        self.rosa_attn = RosaAdapter(config, layer_idx) if layer_idx in config.rosa_layers else None

    def forward(self, hidden_states, position_embeddings, rosa_forward, past_key_values=None, **kwargs):
        window = rosa_forward.window_of(self.layer_idx)
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query, key, value = [projection(hidden_states).view(shape) for projection in (self.q_proj, self.k_proj, self.v_proj)]
        if hasattr(self, "q_norm"):  # not every family of models has these
            query, key = self.q_norm(query), self.k_norm(key)
        query, key, value = [heads.transpose(1, 2) for heads in (query, key, value)]
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        cache_layer = None
        if past_key_values is not None:
            cache_layer = past_key_values.layers[self.layer_idx]
            cache_layer.remember_padding(cache_layer.get_seq_length(), window.count, rosa_forward.new_present)
        sinks = None
        if window.sinks:
            kept = cache_layer.sinks if cache_layer is not None and cache_layer.sinks is not None else (None, None)
            sinks = [window.keep_sinks(before, new) for before, new in zip(kept, (key, value))]
        if past_key_values is not None:
            cache_layer.sinks = sinks
            key, value = past_key_values.update(key, value, self.layer_idx)
        output = self.o_proj(window.attend(query, key, value, sinks).transpose(1, 2).flatten(2))
        if self.layer_idx == 0:
            rosa_forward.first_input = hidden_states.detach()
        if self.rosa_attn is not None:
            retrieved = self.rosa_attn.retrieve(hidden_states, rosa_forward, cache_layer)
            if self.config.rosa_place == "mlp":
                rosa_forward.retrieved = retrieved
            else:
                output = output + self.rosa_attn.finish(retrieved, hidden_states).to(output.dtype)
        return output, None


class Qwen3RosaDecoderLayer(Qwen3DecoderLayer):
    """Qwen3's layer. Where the adapter's place is after the MLP, its output is added there. So is, in the last layer, that of the
    adapter before the final norm."""

    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        self.self_attn = Qwen3RosaAttention(config, layer_idx)

    def forward(self, hidden_states, rosa_forward, past_key_values=None, **kwargs):
        output = super().forward(hidden_states, rosa_forward=rosa_forward, past_key_values=past_key_values, **kwargs)
        index = self.self_attn.layer_idx
        if rosa_forward.retrieved is not None:
            retrieved, rosa_forward.retrieved = rosa_forward.retrieved, None
            output = output + self.self_attn.rosa_attn.finish(retrieved, rosa_forward.norms[index + 1](output)).to(output.dtype)
        if rosa_forward.last_adapter is not None and index + 1 == self.self_attn.config.num_hidden_layers:
            normed = rosa_forward.norms[index + 1](output)
            cache_layer = past_key_values.layers[index] if past_key_values is not None else None
            retrieved = rosa_forward.last_adapter.retrieve(normed, rosa_forward, cache_layer)
            output = output + rosa_forward.last_adapter.finish(retrieved, normed).to(output.dtype)
        return output


class LastAdapter(nn.Module):
    """The adapter before the final norm, under the names of a layer's."""

    def __init__(self, config):
        super().__init__()
        self.self_attn = nn.Module()
        self.self_attn.rosa_attn = RosaAdapter(config, config.num_hidden_layers)


# ---- The model ---------------------------------------------------------------------------------------------------------------


class RosaSettings:
    """What both classes below tell transformers."""

    config_class = Qwen3RosaConfig
    _keep_in_fp32_modules_strict = ["rosa_attn"]
    _no_split_modules = ["Qwen3RosaDecoderLayer"]
    _supports_flash_attn = False  # the attention in a window is this file's own
    _supports_flex_attn = False
    _can_compile_fullgraph = False

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, RosaAdapter):
            module.v_emb0.fill_(-1)
            module.v_emb1.fill_(1)
            if module.v_emb_no_match is not None:
                module.v_emb_no_match.zero_()
            for name, parameter in module.named_parameters(recurse=False):
                if name.startswith(("g_", "u_")):
                    parameter.fill_(module.gate_start(name))


class Qwen3RosaModel(RosaSettings, Qwen3Model):
    def __init__(self, config):
        super().__init__(config)
        self.layers = nn.ModuleList(Qwen3RosaDecoderLayer(config, index) for index in range(config.num_hidden_layers))
        if config.num_hidden_layers in config.rosa_layers:
            self.layers.append(LastAdapter(config))  # which Qwen3Model does not run: it takes num_hidden_layers of them
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
                use_cache=None, **kwargs):
        if kwargs.get("output_attentions"):
            raise ValueError("output_attentions: the attention in a window keeps no weights")
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if self.gradient_checkpointing and self.training:
            use_cache = False
        if past_key_values is not None or use_cache:
            past_key_values = prepare_cache(past_key_values, self.config)
        tokens = input_ids if input_ids is not None else inputs_embeds
        if tokens is None:
            raise ValueError("got neither input_ids nor inputs_embeds")
        batch, count = tokens.shape[:2]
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        present = padding_of(attention_mask, batch, past + count)
        if position_ids is None:
            position_ids = torch.arange(past, past + count, device=tokens.device)[None]
            if present is not None:
                position_ids = (present.long().cumsum(1) - 1).clamp(min=0)[:, -count:].to(tokens.device)
        forward = Forward(self.config, batch, count, past, present)
        layers = self.layers[: self.config.num_hidden_layers]
        forward.library = Library.find(getattr(self.config, "_name_or_path", None))
        forward.norms = [layer.input_layernorm for layer in layers] + [self.norm]
        if len(layers) < len(self.layers):
            forward.last_adapter = self.layers[-1].self_attn.rosa_attn
        # A mask of four dimensions is taken as it is, so that none is made; the layers use their windows in its place.
        return super().forward(input_ids=input_ids, attention_mask=torch.empty(1, 1, 1, 1, dtype=torch.bool),
                               position_ids=position_ids, past_key_values=past_key_values, inputs_embeds=inputs_embeds,
                               use_cache=use_cache, rosa_forward=forward, **kwargs)


def padding_of(attention_mask, batch, length):
    """bool [B,T], or None where nothing is padding."""
    if attention_mask is None:
        return None
    if not torch.is_tensor(attention_mask) or attention_mask.dim() != 2:
        raise ValueError("a Qwen3 with ROSA takes an attention_mask of two dimensions, [batch, tokens so far], that marks padding")
    if tuple(attention_mask.shape) != (batch, length):
        raise ValueError(f"attention_mask has shape {list(attention_mask.shape)}; expected {[batch, length]}: "
                         "one entry for every token so far, those in the cache too")
    present = attention_mask != 0
    return None if bool(present.all()) else present


class Qwen3RosaForCausalLM(RosaSettings, Qwen3ForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        self.model = Qwen3RosaModel(config)
        self.post_init()


def load_adapter(adapter_folder, base_folder=None, **kwargs):
    """A model of a folder that `rosa export --adapter-only` wrote and its base model's folder (as Qwen3's from_pretrained takes
    it; None: the one that the adapter's configuration names). The other arguments are from_pretrained's."""
    from safetensors.torch import load_file

    settings = json.loads((Path(adapter_folder) / ADAPTER_CONFIG_FILE).read_text())
    base_folder = base_folder or settings["base_model_name_or_path"]
    base = AutoConfig.from_pretrained(base_folder).to_dict()
    for name in ("model_type", "layer_types", "architectures", "auto_map"):
        base.pop(name, None)
    own = {name: value for name, value in settings.items() if name.startswith("rosa_") or name == "sliding_window"}
    config = Qwen3RosaConfig(**{**base, "use_sliding_window": True, **own})
    previous = logging.get_verbosity()
    logging.set_verbosity_error()  # the adapter's weights are not in the base's folder, and are loaded below
    try:
        model = Qwen3RosaForCausalLM.from_pretrained(base_folder, config=config, **kwargs)
    finally:
        logging.set_verbosity(previous)
    weights = load_file(Path(adapter_folder) / ADAPTER_FILE)
    expected = {name for name, _ in model.named_parameters() if ".rosa_attn." in name}
    if set(weights) != expected:
        raise ValueError(f"{adapter_folder} and the model differ in the weights {sorted(set(weights) ^ expected)[:4]}")
    model.load_state_dict(weights, strict=False)
    model.config._name_or_path = str(adapter_folder)  # where librosa_c may lie
    return model


__all__ = ["Qwen3RosaForCausalLM", "Qwen3RosaModel", "load_adapter"]
