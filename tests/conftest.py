"""Warnings are errors (pyproject.toml). One thread, as two would wait for each other on a busy machine."""

import torch

torch.set_num_threads(1)
