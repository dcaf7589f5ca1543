"""A run: one frozen value that names everything, and what a trained one gives.

With `fit`, which trains it, the only file that composes stages.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from twinlens import build, checkpoint, discover, distributed
from twinlens.batch import Maker, Samples, Split
from twinlens.data.load import Data, matching
from twinlens.data.load import load as load_data
from twinlens.data.source import Source
from twinlens.data.tokenizer import Tokenizer
from twinlens.embed import embed, to_parquet
from twinlens.encoders import foreign
from twinlens.errors import InputError
from twinlens.evaluate import leaks, splits
from twinlens.evaluate.baselines import MAJORITY, POOLED, RAW, UNTRAINED, Pooled, Raw, majority, names_classes
from twinlens.evaluate.evaluation import Evaluation
from twinlens.evaluate.finetune import STANDARD, FineTuning, finetune, supervised
from twinlens.evaluate.protocol import find as find_protocol
from twinlens.evaluate.result import Labelled, Result
from twinlens.evaluate.tfidf import TfIdf
from twinlens.method import Method
from twinlens.monitor import journal
from twinlens.monitor.verdict import Verdict, verdict
from twinlens.report import stored
from twinlens.train import Training

CHOSEN = "chosen.safetensors"  # in a run's folder: the encoder at the best look by a score without labels


def _module() -> None:
    """Stands for an encoder that was given as a module: it has no settings."""


@dataclass(frozen=True)
class Run:
    """Everything that decides what a run computes, and the folder where it lives once it is trained.

    `settings` holds those of the method's, the encoder's and the views' settings that were set; all others are the
    defaults of their signatures. `module` is the encoder itself where it was given as a module instead of by name.
    `start` is the folder of the run whose trained encoder it starts from, if any.
    """

    data: str
    method: str = "simclr"
    architecture: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Training = field(default_factory=Training)
    modality: str = "image"
    path: Path | None = None
    start: str = ""
    module: nn.Module | None = field(default=None, repr=False, compare=False)

    # What is named ---------------------------------------------------------------------------------------------------

    def sections(self) -> dict[str, discover.Settings]:
        """Every setting under `method`, `encoder`, `views`, `reading`, with its value; InputError for other names."""
        known = {
            "method": discover.settings(discover.method(self.method)),
            "views": build.view_settings(self.modality),
            "encoder": {} if self.module else build.encoder_settings(self.architecture, self.modality),
            "reading": discover.settings(Source),
        }
        given = discover.assign(self.settings, known)
        return {name: known[name] | given[name] for name in known}

    def maker(self, modality: str | None = None) -> Maker:
        """What makes this run's views of samples of its modality, or of another, such as one part of it."""
        return build.maker(modality or self.modality, self.sections()["views"])

    def new_encoder(self, sizes: Mapping[str, int]) -> nn.Module:
        """The encoder with the initial weights of the run's seed (a module that was given is taken as it is)."""
        sizes = {**sizes, **self.maker().sizes}
        if self.module is not None:
            return foreign.wrap(self.module, foreign.example(self.modality, sizes))
        given = self.sections()["encoder"]
        return build.encoder(self.architecture, self.modality, sizes, given, seed=self.training.seed)

    def new_method(self, encoder: nn.Module, samples: int) -> Method:
        """The method around an encoder, its heads with the initial weights of the run's seed, for so many samples."""
        return build.method(
            self.method, encoder, self.sections()["method"], architecture=self.architecture, samples=samples,
            seed=self.training.seed,
        )  # fmt: skip

    # What was trained ------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The folder of a run that was started."""
        if self.path is None:
            raise InputError(f"this run of {self.method} has no folder yet: train it with twinlens.pretrain.")
        return self.path

    @cached_property
    def facts(self) -> dict[str, Any]:
        """run.json: every setting, the versions, and what the data was."""
        return dict(json.loads((self.folder / "run.json").read_text()))

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl."""
        return journal.read(self.folder / "metrics.jsonl")

    @property
    def verdict(self) -> Verdict | None:
        """Whether it learns, by its metrics so far: word, cause and remedy; None where nothing was watched."""
        return verdict(self.metrics)

    @property
    def size(self) -> int:
        """Side of a large view in pixels."""
        if "size" not in self.facts["views"]:
            raise InputError(f"{self.folder} was trained on {self.modality}: this needs an encoder of pictures.")
        return int(self.facts["views"]["size"])

    @property
    def sizes(self) -> dict[str, int]:
        """What the encoder has to know of data and views, such as channels and size of pictures."""
        return {**self.facts["data"]["sizes"], **self.maker().sizes}

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """What turns texts into the ids that the encoder knows; None for an encoder of pictures alone."""
        file = self.folder / "tokenizer.json"
        return Tokenizer.load(file) if file.exists() else None

    @cached_property
    def encoder(self) -> nn.Module:
        """The trained encoder, a plain module in evaluation mode: (N, C, H, W) -> (N, D)."""
        return self._weights("encoder.safetensors")

    @cached_property
    def chosen(self) -> nn.Module:
        """The encoder at the best look by a score without labels (`journal.CHOICE`); the last where there is none."""
        return self._weights(CHOSEN) if (self.folder / CHOSEN).exists() else self.encoder

    @cached_property
    def untrained(self) -> nn.Module:
        """The encoder as it was before the first step."""
        return self._weights("untrained.safetensors")

    @cached_property
    def model(self) -> Method:
        """The whole method at the last checkpoint, its heads around its encoder, in evaluation mode."""
        newest = checkpoint.newest(self.folder / "checkpoints")
        if newest is None:
            raise InputError(f"{self.folder} holds no checkpoint: continue it with --resume, or train it again.")
        method = self.new_method(self._new_encoder(), int(self.facts["data"]["samples"]))
        checkpoint.restore(newest, method)
        return method.to(distributed.device()).eval()

    def _new_encoder(self) -> nn.Module:
        encoder = self.new_encoder(self.facts["data"]["sizes"])
        return encoder if self.module is None else deepcopy(encoder)  # trained and untrained, side by side

    def _weights(self, name: str) -> nn.Module:
        path = self.folder / name
        if not path.exists():
            raise InputError(f"{self.folder} holds no {name}: the run was not finished; continue it with --resume.")
        encoder = self._new_encoder()
        encoder.load_state_dict(checkpoint.read(path)[0])
        return encoder.to(distributed.device()).eval()

    def read(self, data: Data) -> Split:
        """Data as this run's encoder takes it: with as many channels, and with its tokenizer."""
        size = self.facts["views"].get("size")
        return matching(load_data(data, size=size, tokenizer=self.tokenizer), self.facts["data"]["sizes"])

    def embeddings(self, samples: Samples, encoder: nn.Module | None = None) -> torch.Tensor:
        """What the encoder (or another one) gives for each sample, of pairs for the first part: (N, D) float32."""
        return embed(encoder or self.encoder, samples, self.maker(samples.modality), device=distributed.device())

    def embed(self, data: Data) -> NDArray[np.float32]:
        """The embeddings of all samples of `data`, the training part first where it is split: (N, D) float32."""
        split = self.read(data)
        every = [split.train, split.test] if split.test else [split.train]
        return torch.cat([self.embeddings(part) for part in every]).numpy()

    def embed_to(self, data: Data, path: str | Path) -> tuple[int, int]:
        """Writes the embeddings of all samples of `data` to a Parquet file (`twinlens.embed`); returns (N, D)."""
        split = self.read(data)
        named = {"train": split.train} | ({"test": split.test} if split.test else {})
        maker = self.maker(split.train.modality)
        return to_parquet(Path(path), self.encoder, named, maker, device=distributed.device())

    def evaluate(
        self, data: Data, *, protocol: str = "standard", seed: int = 0, allow_leaks: bool = False, chosen: bool = False,
        known: Mapping[str, Sequence[Result]] | None = None,
    ) -> Evaluation:  # fmt: skip
        """How good the frozen encoder is on labelled data, beside what it has to beat, each with a 95 % interval.

        `protocol` names what is measured (twinlens.evaluate.protocol): standard (kNN, a linear probe and few-label
        probes), neighbours (kNN, retrieval, clusters) or full, of the last encoder or, with `chosen`, of the one chosen
        without labels. It has to beat the raw input, a feature that nothing was trained for, the encoder before
        training and, where it names classes, the commonest class. Data without a test part of its own is split 80 : 20
        within each class; one whose test samples are among its training ones is refused, unless `allow_leaks`. The
        table is also written to evaluation.json and report.html. Baselines whose results are `known` by name, from
        another run's evaluation, are not measured again.
        """
        rules, split = find_protocol(protocol, seed=seed), self.read(data)
        train, test = self.judged(split, seed=seed, allow_leaks=allow_leaks)
        assert train.labels is not None and test.labels is not None
        tables = dict(known or {})
        for name, features in self.beside(train, self.chosen if chosen else self.encoder).items():
            if name not in tables:
                learn, judged = Labelled(features(train), train.labels), Labelled(features(test), test.labels)
                tables[name] = rules.measure(learn, judged)
        commonest = majority(train.labels, test.labels)
        trained = tables.pop("")
        rows = [row.beside({name: table[i] for name, table in tables.items()}) for i, row in enumerate(trained)]
        rows = [row.beside({MAJORITY: commonest}) if names_classes(row) else row for row in rows]
        how = rules.as_dict() | splits.describe(split, train, test, seed=seed)
        how |= {"encoder": f"chosen without labels, by {journal.CHOICE}" if chosen else "the last"}
        name = str(data) if isinstance(data, str | Path) else train.name
        evaluation = Evaluation(name, train.fingerprint, tuple(rows), how)
        evaluation.save(self.folder / "evaluation.json")
        stored.render(self.folder, self.metrics, self.verdict)
        return evaluation

    def finetune(
        self, data: Data, *, shots: int | None = None, how: FineTuning = STANDARD, seed: int = 0,
        allow_leaks: bool = False,
    ) -> Result:  # fmt: skip
        """Accuracy after training on labels from the pretrained weights (`how`), beside the same from the initial ones.

        `shots` labels of each class, or all. The supervised baseline has the same encoder, labels and budget.
        """
        train, test = self.judged(self.read(data), seed=seed, allow_leaks=allow_leaks)
        same: dict[str, Any] = {"device": distributed.device(), "how": how, "shots": shots, "seed": seed}
        tuned, labels = (
            judge(encoder, train, test, self.maker(train.modality), **same)
            for judge, encoder in ((finetune, self.encoder), (supervised, self.untrained))
        )
        return tuned.beside({labels.name: labels})

    def beside(self, train: Samples, encoder: nn.Module | None = None) -> dict[str, Callable[[Samples], torch.Tensor]]:
        """What makes features (N, D) of samples: "" the encoder, or another one, and by name what it has to beat."""

        def of(module: nn.Module | None) -> Callable[[Samples], torch.Tensor]:
            return partial(self.embeddings, encoder=module)

        if train.modality.split("+")[0] == "image":
            raw = {RAW: of(Raw()), POOLED: of(Pooled())}
        else:
            raw = {RAW: TfIdf(train)}
        return {"": of(encoder), **raw, UNTRAINED: of(self.untrained)}

    def judged(self, split: Split, *, seed: int, allow_leaks: bool) -> tuple[Samples, Samples]:
        """The labelled parts to learn from and to be judged by; InputError where the second was seen with labels."""
        seen = "labels" in self.facts["data"] and self.facts["data"]["fingerprint"] == split.train.fingerprint
        if seen and (split.test is None or split.test.labels is None):
            raise InputError(
                f"{self.method} learnt from the labels of {split.train.name}, which has no test part of its own: "
                f"evaluate it on labelled data that it has not seen."
            )
        train, test = splits.parts(split, seed=seed)
        if not allow_leaks:
            leaks.refuse(train, test)
        return train, test


def load(path: str | Path, *, encoder: nn.Module | None = None) -> Run:
    """The run in a folder. `encoder` is needed only where the run was trained with a module instead of a name."""
    path = Path(path)
    if not (path / "run.json").is_file():
        raise InputError(f"{path} is not a run folder: it holds no run.json; twinlens pretrain writes one.")
    facts = json.loads((path / "run.json").read_text())
    if facts["encoder"]["name"].startswith("module:") and encoder is None:
        raise InputError(
            f"the encoder of {path} was given as a module ({facts['encoder']['name']}): load it with encoder= set to "
            f"one like it."
        )
    settings = {
        key: value
        for name in ("method", "encoder", "views", "reading")
        for key, value in facts[name].items()
        if key != "name"
    }
    settings.pop("pretrained", None)  # the run's own weights take the place of published ones
    return Run(
        data=facts["data"]["given"], method=facts["method"]["name"], architecture=facts["encoder"]["name"],
        settings=settings, training=Training(**facts["training"]), path=path, modality=facts["data"]["modality"],
        module=encoder, start=facts["start"],
    )  # fmt: skip
