"""Pretraining: from data to a finished run folder."""

import json
import platform
import time
from copy import deepcopy
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from twinlens import checkpoint, distributed
from twinlens.batch import Samples, Views
from twinlens.begin import begin
from twinlens.data.load import Data
from twinlens.embed import embed
from twinlens.errors import InputError, NotLearning
from twinlens.feed import Feed
from twinlens.folder import check_same, working
from twinlens.method import Method
from twinlens.monitor.journal import Journal
from twinlens.monitor.look import moments
from twinlens.plan import Setup, plan, prepare
from twinlens.report import stored
from twinlens.run import CHOSEN, Run, load
from twinlens.train import train
from twinlens.update.optimizers import optimizer as build_optimizer
from twinlens.views.tasks import shown
from twinlens.watch import Watch

UNTRAINED = "untrained.safetensors"  # the first file of a run; run.json, the second, says that it was started


def pretrain(
    data: Data,
    method: str = "simclr",
    *,
    encoder: str | nn.Module | None = None,
    out: str | Path | None = None,
    labels: NDArray[np.integer[Any]] | None = None,
    recipe: Run | None = None,
    resume: bool = False,
    save_every: float = 60.0,
    devices: int = 1,
    **settings: Any,
) -> Run:
    """Trains an encoder on unlabelled data and returns the run, whose folder holds weights, metrics and a report.

    `settings` are those of training (epochs, batch, rate, seed, ...), of the method, of the encoder and of the views;
    `twinlens show METHOD` lists them. What is not set comes from `recipe`, if given, else from the signatures.
    `encoder` is a name, a module, or the folder of a run whose trained encoder, with its settings and its tokenizer, is
    trained further. Labels, given or found in the data, are only for watching, but for a method that learns from them
    (`Views.labels`). A checkpoint is written every `save_every` seconds; with `resume`, the run in `out`, if it was
    started, goes on from the last one, to the same weights. Raises InputError, a ValueError, and NotLearning, a
    RuntimeError, where the loss is no number any more or `stop_on_collapse` is set.
    """
    run = plan(data, method, encoder=encoder, recipe=recipe, **settings)
    path = Path(out or f"runs/{Path(run.data).stem}-{run.method}")
    if path.exists() and not resume:
        raise InputError(f"{path} exists: continue it with --resume, or choose another folder with --out.")
    started = (path / "run.json").is_file()
    strangers = path.exists() and any(item.name != UNTRAINED and item.name[0] != "." for item in path.iterdir())
    if strangers and not started:
        raise InputError(f"{path} holds something else than a run (no run.json): choose another folder with --out.")
    fabric = distributed.launch(devices, run.training.precision)
    setup = prepare(run, data, labels)
    return _fit(fabric, replace(setup.run, path=path), setup, resume=started, save_every=save_every)


def _fit(fabric: Fabric, run: Run, setup: Setup, *, resume: bool, save_every: float) -> Run:
    encoder = run.new_encoder(setup.learn.sizes)
    newest = checkpoint.newest(run.folder / "checkpoints") if resume else None
    if fabric.is_global_zero and newest is None and not run.start and run.module is None:
        begin(encoder, setup.words)  # the other processes get its weights with the whole method's
    untrained = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    if run.start:
        earlier = load(run.start, encoder=run.module)
        untrained = earlier.untrained.state_dict()
        encoder.load_state_dict(earlier.encoder.state_dict())
    method = run.new_method(encoder, len(setup.learn))
    distributed.synchronise(method)
    facts = json.loads(json.dumps(describe(fabric, run, setup, method)))  # as it is read again: lists for tuples
    optimizer = build_optimizer(run.training.optimizer, method, rate=run.training.rate, decay=run.training.decay)
    model: Any = fabric.setup_module(method)
    if resume:
        check_same(load(run.folder, encoder=run.module).facts, facts, run.folder)
    with working(fabric, run.folder):
        if not resume and fabric.is_global_zero:
            checkpoint.write(run.folder / UNTRAINED, untrained, {"encoder": run.architecture})
            if setup.tokenizer is not None:
                setup.tokenizer.save(run.folder / "tokenizer.json")
            checkpoint.write_text(run.folder / "run.json", json.dumps(facts, indent=2))
        start = checkpoint.restore(newest, method, optimizer) if newest else 0
        _loop(fabric, run, setup, model, optimizer, encoder, start=start, save_every=save_every)
        if fabric.is_global_zero:
            checkpoint.write(run.folder / "encoder.safetensors", encoder.state_dict(), {"encoder": run.architecture})
            _report(run, setup, encoder, method, fabric.device)
    fabric.barrier()
    return run


def _loop(
    fabric: Fabric, run: Run, setup: Setup, model: Any, optimizer: torch.optim.Optimizer, encoder: nn.Module,
    *, start: int, save_every: float,
) -> None:  # fmt: skip
    method, training, device = model.module, run.training, fabric.device
    learn = setup.learn.to(device) if device.type == "cuda" and _fits(setup.learn, device) else setup.learn
    views = run.training.views(method.views)
    feed = Feed(
        learn,
        setup.maker,
        views,
        batch=training.batch,
        micro_batches=training.micro_batches,
        tokens=training.micro_tokens,
        seed=training.seed,
        device=device,
    )
    total = training.steps(len(learn))
    if start == total:
        return
    views_per_step = training.batch * shown(views)
    looked_at = moments(total, total * views_per_step) if len(setup.held) > 1 else ()
    watch = _watch(run, setup, encoder, views, device) if fabric.is_global_zero and looked_at else None
    journal = Journal(
        run.folder / "metrics.jsonl", title=f"{run.method} on {setup.facts['name']}", total=total, start=start,
        views_per_step=views_per_step, silent=not fabric.is_global_zero,
    )  # fmt: skip
    saved = time.monotonic()
    with journal:
        if start == 0 and watch:
            journal.watch(watch(method, encoder, 0))
        for step in train(fabric, model, optimizer, feed, training, start=start):
            looks = step.number in looked_at
            journal.step(step.number, step.loss, step.rate, feed.waited, row=looks)
            with journal.paused():
                if watch and looks:
                    journal.watch(watch(method, encoder, step.number))
                    if journal.leads:
                        facts = {"encoder": run.architecture, "step": step.number}
                        checkpoint.write(run.folder / CHOSEN, encoder.state_dict(), facts)
                ends = training.stop_on_collapse and looks and fabric.broadcast(journal.failing)
                due = time.monotonic() - saved > save_every or step.number == total or ends
                if fabric.is_global_zero and due:
                    checkpoint.save(run.folder / "checkpoints", step.number, method, optimizer)
                    saved = time.monotonic()
                if ends:
                    raise NotLearning(f"stopped at step {step.number}: {ends}")


def _report(run: Run, setup: Setup, encoder: nn.Module, method: Method, device: torch.device) -> None:
    if len(setup.held) < 8:
        return  # too few for a spectrum, a map or neighbours
    embeddings, untrained = (embed(one, setup.held, setup.maker, device=device) for one in (encoder, run.untrained))
    stored.collect(
        run.folder, learn=setup.learn, held=setup.held, maker=setup.maker, views=run.training.views(method.views),
        method=method, embeddings=embeddings, untrained=untrained, seed=run.training.seed, device=device,
    )  # fmt: skip
    stored.collect_found(run.folder, encoder, setup.held, setup.maker, device=device)
    stored.render(run.folder, run.metrics, run.verdict)


def _fits(samples: Samples, device: torch.device) -> bool:
    return samples.nbytes < torch.cuda.mem_get_info(device)[0] / 4


def _watch(run: Run, setup: Setup, encoder: nn.Module, views: Views, device: torch.device) -> Watch:
    """What watches the run, which needs the encoder as it was before the first step, also where the run goes on."""
    initial = deepcopy(encoder)
    initial.load_state_dict(checkpoint.read(run.folder / UNTRAINED)[0])
    return Watch(
        initial, setup.held, setup.bank, setup.learn, setup.maker, views, batch=run.training.batch,
        seed=run.training.seed, device=device,
    )  # fmt: skip


def describe(fabric: Fabric, run: Run, setup: Setup, method: Method) -> dict[str, Any]:
    """run.json: everything that decides the run, and what it was computed with."""
    sections = run.sections()
    norms = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in method.modules())
    notes = []
    if method.views.labels:
        notes.append("The method learnt from the labels of its training samples.")
    if run.training.micro_batches > 1 and norms:
        notes.append("Batch normalisation took its statistics from each micro-batch, not from the whole batch.")
    return {
        "data": dict(setup.facts),
        "method": {"name": run.method, **sections["method"]},
        "encoder": {"name": run.architecture, **sections["encoder"]},
        "views": sections["views"],
        "reading": sections["reading"],
        "training": asdict(run.training),
        "start": run.start,
        "parameters": sum(p.numel() for p in method.parameters() if p.requires_grad),
        "environment": {
            "twinlens": version("twinlens"), "torch": torch.__version__, "python": platform.python_version(),
            "device": torch.cuda.get_device_name() if fabric.device.type == "cuda" else "cpu",
            "processes": fabric.world_size, "threads": torch.get_num_threads(),
            "precision": fabric._precision.precision,
        },
        "notes": notes,
    }  # fmt: skip
