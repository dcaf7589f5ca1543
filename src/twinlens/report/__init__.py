"""What a run did and what came of it, on one page that needs nothing else."""

from twinlens.report.content import Content
from twinlens.report.page import write

__all__ = ["Content", "write"]
