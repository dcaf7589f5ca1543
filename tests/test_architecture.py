"""The shape of the code: who may import whom, how long things may be, and that nothing concrete is subclassed."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import twinlens

SOURCE = Path(twinlens.__path__[0])
RANKS = {
    unit: rank
    for rank, units in enumerate(
        (
            ("errors", "random"),
            ("batch", "distributed", "nearest", "dropout", "distinct", "initialization", "rate"),
            ("data", "views", "encoders", "heads", "losses", "update"),
            ("method", "feed", "embed", "latent"),
            ("methods", "gradients"),
            ("discover", "train", "checkpoint", "export", "monitor", "evaluate", "report", "control"),
            ("build", "begin", "folder", "watch"),
            ("run",),
            ("plan",),
            ("fit", "recipes", "transfer", "generation", "alignment", "search"),
            ("comparison",),
            ("cli",),
            ("__init__", "__main__"),
        )
    )
    for unit in units
}
LAZY = {"cli", "__init__", "__main__"}  # these import anything, inside functions or for types alone
FUNCTION_LINES, PARAMETERS = 60, 10
OPEN = {"ABC", "Protocol", "NamedTuple"}  # a class that names one of these as its base may be subclassed

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module:
    """A parsed file of the package: `path` relative to it, `unit` the folder or file at its top."""

    def __init__(self, root: Path, file: Path) -> None:
        self.path = file.relative_to(root)
        self.unit = self.path.parts[0].removesuffix(".py")
        self.name = ".".join(("twinlens", *self.path.with_suffix("").parts)).removesuffix(".__init__")
        text = file.read_text()
        self.lines = text.count("\n")
        self.tree = ast.parse(text)

    def every(self, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
        return (node for node in ast.walk(self.tree) if isinstance(node, kinds))


def modules(root: Path) -> list[Module]:
    return [Module(root, file) for file in sorted(root.rglob("*.py"))]


def imports(module: Module) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    """Each import with the dotted names it may bind: `from a import b` gives `a.b`."""
    for node in module.every(ast.Import, ast.ImportFrom):
        source = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            yield node, source + alias.name


def eager(tree: ast.AST) -> set[ast.AST]:
    """The nodes that run when the file is imported: not those in functions, nor under `if TYPE_CHECKING`."""
    found: set[ast.AST] = set()
    for node in ast.iter_child_nodes(tree):
        types_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not isinstance(node, Function) and not types_only:
            found |= {node} | eager(node)
    return found


def rank_violations(root: Path) -> Iterator[str]:
    for module in modules(root):
        if module.unit not in RANKS:
            yield f"{module.path}: {module.unit!r} has no rank; give it one in {Path(__file__).name}"
            continue
        at_once = eager(module.tree)
        for node, name in imports(module):
            parts = name.split(".")
            if isinstance(node, ast.ImportFrom) and node.level:
                yield f"{module.path}:{node.lineno}: relative import; write it absolutely"
            elif parts[0] == "twinlens" and not (module.unit in LAZY and node not in at_once):
                target = parts[1] if len(parts) > 1 and parts[1] in RANKS else "__init__"
                inside = target == module.unit and target != "methods"
                if module.unit == "__init__":
                    yield f"{module.path}:{node.lineno}: imports {name} at once; public names are imported lazily"
                elif not inside and RANKS[target] >= RANKS[module.unit]:
                    yield (
                        f"{module.path}:{node.lineno}: {module.unit} (rank {RANKS[module.unit]}) "
                        f"imports {name} (rank {RANKS[target]})"
                    )


def torchvision_violations(root: Path) -> Iterator[str]:
    for module in modules(root):
        for node, name in imports(module):
            if name.split(".")[0] == "torchvision":
                yield f"{module.path}:{node.lineno}: imports {name}; the package works without torchvision"


def lines_allowed(module: Module) -> int:
    if module.unit == "methods":
        return 100
    return 150 if module.path == Path("train.py") else 300


def size_violations(root: Path) -> Iterator[str]:
    for module in modules(root):
        if module.lines > lines_allowed(module):
            yield f"{module.path}: {module.lines} lines, at most {lines_allowed(module)}"
        for node in module.every(ast.FunctionDef, ast.AsyncFunctionDef):
            where = f"{module.path}:{node.lineno}: {node.name}"
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{where} has {lines} lines, at most {FUNCTION_LINES}"
            if (count := parameters(node)) > PARAMETERS:
                yield f"{where} has {count} parameters, at most {PARAMETERS}"


def parameters(function: Function) -> int:
    a = function.args
    named = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
    return len([arg for position, arg in enumerate(named) if position > 0 or arg.arg not in ("self", "cls")])


def last(expression: ast.expr) -> str:
    """The last name of `a.b.C`, `C[T]` or `C(...)`."""
    while isinstance(expression, ast.Subscript | ast.Call):
        expression = expression.value if isinstance(expression, ast.Subscript) else expression.func
    return ast.unparse(expression).split(".")[-1]


def is_open(node: ast.ClassDef) -> bool:
    bases = {last(base) for base in node.bases} | {last(keyword.value) for keyword in node.keywords}
    return bool(bases & (OPEN | {"ABCMeta"})) or "dataclass" in map(last, node.decorator_list)


def subclass_violations(root: Path) -> Iterator[str]:
    """Bases are followed by name: those defined in the same file, and those imported from the package."""
    files = modules(root)
    closed: dict[str, str] = {}
    for module in files:
        closed |= {n.name: f"{module.name}.{n.name}" for n in module.every(ast.ClassDef) if not is_open(n)}
    for module in files:
        ours = {node.name for node in module.every(ast.ClassDef)}
        for node, name in imports(module):
            if name.split(".")[0] == "twinlens":
                ours |= {alias.asname or alias.name.split(".")[-1] for alias in node.names}
        for node in module.every(ast.ClassDef):
            for base in node.bases:
                root_name = ast.unparse(base).split("[")[0].split(".")[0]
                if root_name in ours | {"twinlens"} and last(base) in closed:
                    yield f"{module.path}:{node.lineno}: {node.name} subclasses {closed[last(base)]}, which is concrete"


CHECKS = [rank_violations, torchvision_violations, size_violations, subclass_violations]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_package_keeps_its_shape(check):
    assert modules(SOURCE), f"no source found in {SOURCE}"
    if violations := list(check(SOURCE)):
        pytest.fail("\n".join(violations), pytrace=False)


def parameters_of(count: int) -> str:
    return ", ".join(f"p{i}" for i in range(count))


@pytest.mark.parametrize(
    ("check", "path", "code", "expected"),
    [
        (rank_violations, "losses/a.py", "from twinlens.heads import mlp", "losses (rank 2) imports twinlens.heads"),
        (rank_violations, "losses/a.py", "import twinlens", "imports twinlens (rank 12)"),
        (rank_violations, "losses/a.py", "def f():\n    import twinlens.train", "imports twinlens.train"),
        (rank_violations, "train.py", "if TYPE_CHECKING:\n    from twinlens.run import Run", "imports twinlens.run"),
        (rank_violations, "methods/a.py", "from twinlens.methods.b import B", "imports twinlens.methods.b"),
        (rank_violations, "monitor/a.py", "from twinlens import report", "imports twinlens.report"),
        (rank_violations, "heads/a.py", "from . import b", "relative import"),
        (rank_violations, "other.py", "", "'other' has no rank"),
        (rank_violations, "__init__.py", "from twinlens import train", "imports twinlens.train at once"),
        (rank_violations, "losses/a.py", "from twinlens import batch\nfrom twinlens.losses import b", None),
        (rank_violations, "__init__.py", "if TYPE_CHECKING:\n    from twinlens import run", None),
        (rank_violations, "cli/a.py", "def f():\n    import twinlens", None),
        (torchvision_violations, "data/a.py", "def f():\n    from torchvision import io", "imports torchvision.io"),
        (torchvision_violations, "data/a.py", "import torch", None),
        (size_violations, "methods/a.py", "\n" * 101, "101 lines, at most 100"),
        (size_violations, "train.py", "\n" * 151, "151 lines, at most 150"),
        (size_violations, "data/a.py", "\n" * 301, "301 lines, at most 300"),
        (size_violations, "data/a.py", "def f():\n" + "    1\n" * 60, "f has 61 lines, at most 60"),
        (size_violations, "data/a.py", f"def f({parameters_of(11)}): ...", "f has 11 parameters, at most 10"),
        (size_violations, "data/a.py", f"class A:\n    def f(self, {parameters_of(10)}): ...", None),
        (subclass_violations, "data/a.py", "class A: ...\nclass B(A): ...", "B subclasses twinlens.data.a.A"),
        (subclass_violations, "data/a.py", "class A(Generic[T]): ...\nclass B(A[int]): ...", "B subclasses"),
        (subclass_violations, "data/a.py", "class A(ABC): ...\nclass B(A): ...", None),
        (subclass_violations, "data/a.py", "from torch import nn\nclass Linear(nn.Linear): ...", None),
    ],
)
def test_each_check_finds_what_it_is_for(tmp_path, check, path, code, expected):
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(code)
    found = "\n".join(check(tmp_path))
    assert (expected in found) if expected else not found
