"""The command's entry: finds the verb, and turns bad input into one sentence and exit status 2."""

import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from twinlens.errors import InputError, NotLearning, unknown

USAGE = """\
usage: twinlens VERB ...

Self-supervised representation learning: unlabelled data into an encoder, and honest figures of how good it is.

  twinlens pretrain DATA [--method simclr] [--epochs N] [--out RUN] [--resume]
  twinlens evaluate RUN LABELLED_DATA     kNN, linear and few-label probes, with baselines beside them
  twinlens evaluate RUN PAIRS             how well texts and texts, or pictures and captions, find each other
  twinlens finetune RUN LABELLED_DATA     trained on labels, from the pretrained and from the initial weights
  twinlens dense RUN LABELLED_DATA        segmentation and detection by light heads, on scenes of the data's pictures
  twinlens generate RUN [--data DATA]     samples that a method draws, as a picture, and how far they are from real ones
  twinlens audit RUN DATA GROUPS          accuracy by group, the worst one, and whether the group can be read
  twinlens compare METHOD... DATA         several methods at equal compute, ranked with labels and without
  twinlens embed RUN DATA --out FILE      embeddings of every sample, as Parquet
  twinlens export RUN --out FOLDER        an encoder of texts, for sentence-transformers or transformers
  twinlens search RUN DATA [QUERY ...]    what of the data lies nearest to a text or to a picture
  twinlens mine RUN PAIRS --out FILE      pairs of texts with hard negatives, to train on again
  twinlens list                           methods, encoders, datasets and recipes
  twinlens show NAME                      a method or an encoder: its source, its settings and where they come from

DATA is a folder of pictures or texts, a file of them (.npz, .txt, .jsonl, .csv, ...), or a known name (twinlens list).
twinlens VERB --help explains the verb; twinlens pretrain --method NAME --help the settings of a method.
"""


def verbs() -> list[str]:
    """The verbs: the files of this folder."""
    return sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py") if file.stem != "main")


def main() -> None:
    """Runs the command line's verb and ends the process with its status."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command line; returns the status: 0, 2 for bad input, 3 if a run does not learn, 130 if interrupted."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"twinlens {version('twinlens')}")
        return 0
    try:
        if arguments[0] not in verbs():
            raise unknown("verb", arguments[0], verbs())
        import_module(f"twinlens.cli.{arguments[0]}").run(arguments[1:])
    except (InputError, NotLearning) as error:
        print(f"twinlens: {error}", file=sys.stderr)
        return 3 if isinstance(error, NotLearning) else 2
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        print("\ntwinlens: interrupted; a run that was started goes on with --resume.", file=sys.stderr)
        return 130
    return 0
