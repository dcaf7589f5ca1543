"""twinlens pretrain DATA: an encoder from unlabelled data."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from twinlens import build, discover, distributed, recipes
from twinlens.cli import _columns
from twinlens.data import known
from twinlens.data.source import Source
from twinlens.encoders.towers import Towers
from twinlens.errors import InputError
from twinlens.fit import pretrain
from twinlens.plan import plan
from twinlens.report.shows import judged_by
from twinlens.run import Run
from twinlens.train import Training

OWN = ("data", "method", "encoder", "recipe", "out", "resume", "devices", "size", "save_every")


def parser(arguments: list[str]) -> ArgumentParser:
    """The parser for the method and encoder that the arguments name: their settings are read from their signatures."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--method", default="simclr")
    peek.add_argument("--encoder")
    peek.add_argument("--recipe")
    peek.add_argument("--text", default="")
    chosen, rest = peek.parse_known_args(arguments)
    recipe = recipes.find(chosen.recipe, chosen.method) if chosen.recipe else None
    run = plan(
        Source(path=_data(rest), text=chosen.text),
        recipe.method if recipe else chosen.method,
        encoder=chosen.encoder,
        recipe=recipe,
    )
    method = discover.method(run.method)

    made = ArgumentParser(prog="twinlens pretrain", description="Pretrain an encoder on unlabelled data.")
    made.add_argument("data", help=_columns.DATA)
    made.add_argument(
        "--method", default="simclr", help=f"one of {', '.join(discover.methods())}, or what a recipe calls its run"
    )
    made.add_argument(
        "--encoder",
        default=run.architecture,
        help=f"one of {', '.join(discover.encoders())}, timm/NAME, transformers/NAME-OR-FOLDER; two joined by + for "
        "pictures with captions; or a run's folder, whose encoder is trained further",
    )
    made.add_argument("--recipe", help=f"tuned settings for a dataset, as defaults: {', '.join(recipes.names())}")
    made.add_argument("--out", help="the run's folder (default: runs/DATA-METHOD)")
    made.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")
    made.add_argument("--save_every", type=float, default=60.0, help="seconds between checkpoints")
    made.add_argument(
        "--stop_on_collapse", action="store_true", help="end, with status 3, a run that collapsed in two looks in a row"
    )
    made.add_argument(
        "--devices", type=int, default=1, help="GPUs of this machine (under torchrun or SLURM: set there)"
    )
    if "image" in run.modality:
        made.add_argument(
            "--size",
            type=int,
            help="side of a view in pixels (default: the pictures' own, at most 64, or 224 on a GPU)",
        )
    made.add_class_arguments(Training, skip={"stop_on_collapse"})
    made.add_class_arguments(method, skip={"encoder", "samples"})
    _encoder_arguments(made, run)
    for kind in build.kinds(run.modality):
        made.add_class_arguments(discover.makers()[kind], skip={"size"})
    if "text" in run.modality:
        made.add_class_arguments(Source, skip={"path"})
    known = {action.dest for action in made._actions}
    made.set_defaults({name: value for name, value in given(run).items() if name in known})
    return made


def _data(arguments: list[str]) -> str:
    """Which of the arguments is the data, before it is known which of the others are values of options."""
    there = [one for one in arguments if one[:1] != "-" and (one in known.names() or Path(one).expanduser().exists())]
    return there[0] if there else ""


def _encoder_arguments(made: ArgumentParser, run: Run) -> None:
    """The settings of the encoder, or of both that stand side by side, under their modality's name."""
    factories = build.factories(run.architecture, run.modality)
    for kind, factory in factories.items():
        ours = factory in discover.encoders().values()
        skip: set[str | int] = set(discover.sizes(factory)) if ours else {"name", "channels", "size", "length"}
        if len(factories) == 1:
            made.add_function_arguments(factory, skip=skip)
            continue
        for name, value in discover.settings(factory).items():
            made.add_argument(f"--{kind}_{name}", type=type(value), default=value)
    if len(factories) > 1:
        made.add_class_arguments(Towers, skip={"first", "second"})


def given(run: Any) -> dict[str, Any]:
    """The settings of a run that a recipe chose, flat."""
    return {**vars(run.training), **run.settings}


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    made = parser(arguments)
    made.exit_on_error = False
    try:
        found = made.parse_args(arguments).as_flat()
    except argparse.ArgumentError as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"{said}; twinlens pretrain --help lists what there is.") from error
    values = vars(found)
    settings = {name: value for name, value in values.items() if name not in OWN}
    if values.get("size") is not None:
        settings["size"] = values["size"]
    method = recipes.find(values["recipe"], values["method"]).method if values["recipe"] else values["method"]
    done = pretrain(
        values["data"], method, encoder=values["encoder"], out=values["out"],
        resume=values["resume"], save_every=values["save_every"], devices=values["devices"],
        **settings,
    )  # fmt: skip
    if distributed.rank() > 0:
        return
    if found_verdict := done.verdict:
        print(f"\n{found_verdict.word}: {found_verdict.cause} {found_verdict.remedy}".rstrip(), file=sys.stderr)
    print(f"\n{done.folder}: encoder.safetensors, metrics.jsonl, run.json and report.html are there.", file=sys.stderr)
    print(f"How good is it?  twinlens evaluate {done.folder} {judged_by(done.facts['data'])}", file=sys.stderr)
