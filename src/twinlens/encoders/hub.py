"""Encoders of texts from elsewhere: models of transformers and of sentence-transformers, by name or from a folder.

transformers is an extra, imported where it is used.
"""

import inspect
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from twinlens.dropout import Dropout
from twinlens.encoders.contract import evaluating
from twinlens.encoders.lengths import by_length
from twinlens.encoders.modules import json_of, listed, steps_of
from twinlens.encoders.pooling import Pooling
from twinlens.encoders.pretrained import extra, transformer
from twinlens.errors import InputError

_WANTED = ["*.json", "*.safetensors", "*.txt"]
_UNWANTED = ["onnx/*", "openvino/*"]
_NAMES = {"mean": "mean", "cls": "cls", "last": "lasttoken"}
_UNLIMITED = 512  # the longest text of a model that sets no limit itself: BERT's, a guess
_NO_LIMIT = 1_000_000  # tokenizers without a limit say 10^30


class TextEncoder(nn.Module):
    """A model of transformers as an encoder of texts: views (N, T) int64 ids, negative ones fill up, -> (N, D).

    `longest` is how many words of a text it can see, `causal` whether a word sees those before it alone. What it drops
    in training is counted (`twinlens.dropout`), and nothing of the attention's weights. Parameters that no embedding
    depends on (a pooler that was trained for something else) do not learn, nor do `word_weights` (V,): how much each
    word counts in the mean, None where all count alike.
    """

    def __init__(
        self, module: nn.Module, pooling: Pooling, steps: list[nn.Module], *, longest: int, length: int,
        word_weights: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        config: Any = module.config
        self.module, self.pooling, self.steps = _counted(module), pooling, nn.Sequential(*steps)
        self.word_weights = None if word_weights is None else nn.Parameter(word_weights, requires_grad=False)
        self.longest, self.patch_dim, self.shape, self.grid = longest, 1, (length,), (length,)
        self._asks = set(inspect.signature(module.forward).parameters)
        self._types = "token_type_ids" in self._asks and bool(getattr(config, "type_vocab_size", 0))
        self._pad = min(max(_id(config.pad_token_id), 0), config.vocab_size - 1)
        self.vocabulary: int | None = config.vocab_size
        self.width, self.causal = _study(self)
        with evaluating(self), torch.no_grad():
            self.dim = int(self(torch.zeros(1, 1, dtype=torch.int64)).shape[1])

    def tokens(
        self, view: Tensor, keep: Tensor | None = None, *, among: Tensor | None = None, mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """(N, T) -> (N, T, D'), as a `TokenEncoder` gives them; InputError where `keep` is asked for."""
        if keep is not None:
            raise InputError(
                f"{type(self.module).__name__} of transformers cannot leave tokens out: choose the encoder words, or a "
                f"method that hides tokens instead, such as mlm."
            )
        hidden: Tensor = self._run(view, among, mask, mask_token).last_hidden_state
        return hidden

    def layers(self, view: Tensor) -> Tensor:
        """(N, T) -> (L, N, T, D'): the tokens after each of L blocks; the last may be behind a last norm."""
        return torch.stack(self._run(view, output_hidden_states=True).hidden_states[1:])

    def pooled(self, tokens: Tensor, view: Tensor | None = None) -> Tensor:
        """A view's tokens (N, T, D') -> its embedding (N, D); what fills a `view` up does not count."""
        there = tokens.new_ones(tokens.shape[:2], dtype=torch.bool) if view is None else _there(view)
        if self.word_weights is not None and view is not None:
            there = self.word_weights[view.clamp(min=0)] * there
        out: Tensor = self.steps(self.pooling(tokens, there))
        return out

    def forward(self, view: Tensor) -> Tensor:
        """(N, T) -> (N, D); in training on a processor texts of like lengths together, so that less is filled up."""
        return by_length(self._embedding, view) if self.training else self._embedding(view)

    def _embedding(self, view: Tensor) -> Tensor:
        return self.pooled(self.tokens(view), view)

    def patchify(self, view: Tensor) -> Tensor:
        """(N, T) -> (N, T, 1)."""
        return view[..., None]

    def unpatchify(self, patches: Tensor) -> Tensor:
        """(N, T, 1) -> (N, T)."""
        return patches[..., 0]

    def _run(
        self, view: Tensor, among: Tensor | None = None, mask: Tensor | None = None, mask_token: Tensor | None = None,
        **settings: Any,
    ) -> Any:  # fmt: skip
        if view.shape[1] > self.longest:
            raise InputError(
                f"a view of {view.shape[1]} words is longer than the {self.longest} that {type(self.module).__name__} "
                f"can see: set --length {self.longest} or less."
            )
        ids = view.masked_fill(view < 0, self._pad)
        there = _there(view if among is None else view.masked_fill(~among, -1))
        given: dict[str, Any] = {"attention_mask": there.long(), **settings}
        if self._types:  # not where they are there without a table of their own: GPT-2 adds the words of these ids
            given["token_type_ids"] = torch.zeros_like(ids)
        if "use_cache" in self._asks:
            given["use_cache"] = False
        if mask is None or mask_token is None:
            return self.module(input_ids=ids, **given)
        return self.module(inputs_embeds=self._hidden(ids, mask, mask_token), **given)

    def _hidden(self, ids: Tensor, mask: Tensor, mask_token: Tensor) -> Tensor:
        """What is embedded of `ids`, with `mask_token` where `mask` holds."""
        module: Any = self.module
        if "inputs_embeds" not in self._asks:
            raise InputError(f"{type(module).__name__} of transformers takes ids alone: no word can be hidden from it.")
        embedded: Tensor = module.get_input_embeddings()(ids)
        if embedded.shape[2] != len(mask_token):
            raise InputError(
                f"{type(module).__name__} embeds words in {embedded.shape[2]} features and gives {len(mask_token)}: no "
                f"word can be hidden from it; choose a model that has as many of both."
            )
        return torch.where(mask[..., None], mask_token.to(embedded), embedded)


def text_encoder(
    name: str | Path, length: int | None = None, *, pooling: Literal["auto", "mean", "cls", "last"] = "auto"
) -> TextEncoder:
    """A model of transformers or of sentence-transformers as an encoder of texts, with the weights it comes with.

    Args:
        name: Name on the hub, or a local folder with config.json and safetensors, or with modules.json.
        length: T, the words of a view where all views are as long; unless given `longest`, the most it can see.
        pooling: How a text is embedded: by the mean of its tokens, the first (cls) or the last; auto is what a folder
            of sentence-transformers says, and otherwise last for a causal model and mean for others.
    """
    folder = folder_of(name)
    parts = list(listed(folder))
    body = folder / parts[0][1] if parts else folder
    module = transformer(str(body), dtype=torch.float32)
    if getattr(module.config, "is_encoder_decoder", False):
        raise InputError(f"{name} is an encoder with a decoder: choose a model that is an encoder alone, such as BERT.")
    weights, modes, steps = steps_of(folder, parts[1:])
    longest = _longest(body, module)
    if length is not None and not 1 <= length <= longest:
        raise InputError(f"views of {length} words for {name}: expected 1 to {longest}; set --length {longest}.")
    chosen = modes if pooling == "auto" else (_NAMES[pooling],)
    encoder = TextEncoder(
        module, Pooling(chosen or ("mean",)), steps, longest=longest, length=length or longest,
        word_weights=weights if chosen == ("mean",) else None,
    )  # fmt: skip
    if not chosen and encoder.causal:
        encoder.pooling = Pooling(("lasttoken",))
    return encoder


def folder_of(name: str | Path) -> Path:
    """The folder with all files of a model, its tokenizer's too: `name` itself, or that of the hub's cache.

    What is not in the cache is fetched (not where HF_HUB_OFFLINE=1). Raises InputError where there is none.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    hub = extra("huggingface_hub", "hub")
    try:
        return Path(hub.snapshot_download(str(name), allow_patterns=_WANTED, ignore_patterns=_UNWANTED))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"no model at {str(name)!r}, expected a hub name or a local folder: {reason}") from error


def _longest(folder: Path, module: nn.Module) -> int:
    """The most words a text may have: what the folder says, and as many as there are positions for."""
    config: Any = module.config
    limits = [
        json_of(folder / "sentence_bert_config.json", {}).get("max_seq_length"),
        json_of(folder / "tokenizer_config.json", {}).get("model_max_length"),
        getattr(config, "max_position_embeddings", None),
    ]
    for key, part in module.named_modules():  # where padding has a position, words come after it (RoBERTa, MPNet)
        if key.endswith("position_embeddings") and isinstance(part, nn.Embedding) and part.padding_idx is not None:
            limits.append(part.num_embeddings - part.padding_idx - 1)
    return min((int(limit) for limit in limits if limit and 0 < limit < _NO_LIMIT), default=_UNLIMITED)


def _study(encoder: TextEncoder) -> tuple[int, bool]:
    """Width of a token, and whether the first one is the same whatever comes after it; freezes what is not used."""
    words = [place for place in range(min(encoder.vocabulary or 0, 4)) if place != encoder._pad][:3]
    one, other = torch.tensor([[words[0], words[1]]]), torch.tensor([[words[0], words[-1]]])
    parameters = [p for p in encoder.module.parameters() if p.requires_grad]
    try:
        with evaluating(encoder), torch.enable_grad():
            first, second = encoder.tokens(one), encoder.tokens(other).detach()
            found = torch.autograd.grad(first.sum(), parameters, allow_unused=True)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{type(encoder.module).__name__} cannot encode a text: {reason}") from error
    for parameter, gradient in zip(parameters, found, strict=True):
        parameter.requires_grad_(gradient is not None)
    return first.shape[2], torch.allclose(first[:, 0].detach(), second[:, 0], rtol=1e-5, atol=1e-6)


def _counted(module: nn.Module) -> nn.Module:
    """The model with counted dropout, so that what is dropped of a text does not depend on how a batch is split.

    Of the attention's weights a kernel drops, by a share `p` that it asks a module for: 0, as in our own transformer.
    """
    for part in list(module.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.Dropout):
                dropout: Any = Dropout(child.p)
                dropout.p = 0.0
                setattr(part, name, dropout)
    return module


def _there(view: Tensor) -> Tensor:
    """Which words of (N, T) are there; of a row of nothing all, as no row may be empty."""
    there = view >= 0
    return there | ~there.any(dim=1, keepdim=True)


def _id(given: Any) -> int:
    return given if isinstance(given, int) else 0
