"""Warnings are errors (pyproject.toml); two threads are enough for everything here."""

import torch

torch.set_num_threads(2)
