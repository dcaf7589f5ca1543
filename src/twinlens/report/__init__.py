"""What a run did and what came of it, on one page that needs nothing else."""

from twinlens.report.page import Content, write

__all__ = ["Content", "write"]
