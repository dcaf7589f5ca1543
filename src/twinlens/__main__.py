"""`python -m twinlens`, and what torchrun starts."""

from twinlens.cli.main import main

main()
