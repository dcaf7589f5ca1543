"""All documentation runs: README's examples, and its generated tables are current."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from twinlens.cli.main import USAGE, verbs

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_the_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(compile(example, "README.md", "exec"), names)
    assert names["vectors"].shape[0] == 1797  # type: ignore[attr-defined]


def test_the_commands_exist() -> None:
    for text in (README, USAGE):
        used = re.findall(r"^\s+twinlens (\w+) |`twinlens (\w+)", text, flags=re.MULTILINE)
        assert used and {one or other for one, other in used} <= {*verbs(), "VERB"}
    for script in re.findall(r"scripts/(\w+)", README):
        assert (ROOT / "scripts" / script).exists()


def test_the_generated_tables_are_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "tables.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_files_named_in_the_text_exist() -> None:
    for name in re.findall(r"`((?:tests|benchmarks|src|scripts)/[\w./]+)`", README):
        assert (ROOT / name).exists(), name
