"""Digests of the code that makes results, so that an edit of it, and of nothing else, tells."""

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

from bitsweep.artifact import write_text

# What runs and records stages, and the config, whose values are parameters of the rules: neither
# makes what a stage results in, and every stage would be stale by an edit of a message in it.
_FRAME = {
    "bitsweep.script",
    "bitsweep.rule_stage",
    "bitsweep.engines.task",
    "bitsweep.profile.measuring",
    "bitsweep.config",
}

# Where it is kept what files were found to hold.
_kept: Path | None = None

# The rule `engine` sees to TVM, which is not this environment's in every engine.
_TVM = {"tvm", "tvm_ffi"}


def keep_in(folder: Path) -> None:
    """Keep in a folder what files hold, by their content: parsing them takes a second."""
    global _kept
    _kept = folder


@cache
def of_stage(script: Path, engine: str | None = None) -> str:
    """Return the digest of the code that a rule's script runs, in its own process and the engine's.

    That are the modules of `bitsweep` which the script imports and, of those of `engine`, the tasks
    that it names, with all that they import: at their top or inside functions, by name, by a
    constant argument of `import_module`, or by an attribute that a package keeps elsewhere. Texts
    and positions do not count, so that an edit of a comment or a docstring changes nothing. Of
    other packages the versions count. The script itself does not: Snakemake sees its edits.
    """
    source, roots = _source(script, ""), (script.parents[1],)
    tasks = {
        task
        for task in (f"bitsweep.engines.{engine}.{name}" for name in source.texts if engine)
        if _find(task, roots)
    }
    return _digest(source.imports | tasks, roots)


@cache
def of_module(name: str, *roots: Path) -> str:
    """Return the digest of a module and of what it imports, as far as it lies below `roots`.

    Of other packages, the module's own if it is one's, the versions count.
    """
    return _digest({name}, roots)


def modules(imports: Iterable[str], roots: tuple[Path, ...]) -> tuple[dict[str, Path], set[str]]:
    """Return the files below `roots`, by module, that these imports reach, and other packages."""
    files: dict[str, Path] = {}
    others: set[str] = set()
    left = list(imports)
    while left:
        for name, path in _files(left.pop(), roots):
            if path is None:
                others.add(name)
            elif name not in files and name not in _FRAME:
                files[name] = path
                left += _source(path, _package(name, path)).imports
    return files, others - set(sys.stdlib_module_names)


def _digest(imports: Iterable[str], roots: tuple[Path, ...]) -> str:
    files, others = modules(imports, roots)
    parts = [f"{name} {_source(p, _package(name, p)).digest}" for name, p in sorted(files.items())]
    parts += [f"{name} {version(name)}" for name in sorted(others - _TVM)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@cache
def _files(name: str, roots: tuple[Path, ...]) -> tuple[tuple[str, Path | None], ...]:
    """The modules that the import of a dotted name runs, with their files; None where it has none.

    What is no module is an attribute, which its package may keep in another of its modules.
    """
    return tuple(_walk(name, roots))


def _walk(name: str, roots: tuple[Path, ...]) -> Iterator[tuple[str, Path | None]]:
    package, rest = "", name
    homes: dict[str, str] = {}
    while rest:
        attribute, _, rest = rest.partition(".")
        module = f"{package}.{attribute}".lstrip(".")
        path = _find(module, roots)
        if path is None:
            if not package:
                yield module, None
            elif attribute in homes:
                yield from _files(homes[attribute], roots)
            return
        if path.suffix:
            yield module, path
        package = module
        homes = _source(path, package).homes if path.name == "__init__.py" else {}


@cache
def _find(module: str, roots: tuple[Path, ...]) -> Path | None:
    """The file of a module, or the folder of a package without one."""
    for root in roots:
        path = root.joinpath(*module.split("."))
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file():
                return file
    folders = (root.joinpath(*module.split(".")) for root in roots)
    return next((folder for folder in folders if folder.is_dir()), None)


def _package(module: str, path: Path) -> str:
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


@dataclass(frozen=True)
class _Source:
    """What a file's code is, and which dotted names it imports or looks up in what it imports.

    `homes` are the modules that a dictionary names by attribute, for a `__getattr__` to import;
    `texts` the short strings in it.
    """

    digest: str
    imports: frozenset[str]
    homes: dict[str, str]
    texts: frozenset[str]

    def json(self) -> str:
        return json.dumps([self.digest, sorted(self.imports), self.homes, sorted(self.texts)])

    @classmethod
    def of_json(cls, text: str) -> "_Source":
        digest, imports, homes, texts = json.loads(text)
        return cls(digest, frozenset(imports), homes, frozenset(texts))


@cache
def _source(path: Path, package: str) -> _Source:
    try:
        text = path.read_bytes()
    except OSError as error:  # whoever imports it will hear of it
        return _unread(error)
    if _kept is None:
        return _parsed(text, package)
    key = hashlib.sha256(f"{_reader()} {package}\n".encode() + text).hexdigest()
    with suppress(OSError, ValueError, TypeError):
        return _Source.of_json(_kept.joinpath(key).read_text(encoding="utf-8"))
    source = _parsed(text, package)
    with suppress(OSError):  # then it is parsed again
        write_text(_kept / key, source.json())
    return source


@cache
def _reader() -> str:
    """What tells how files were parsed: this code, and Python."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest() + sys.version


def _unread(error: Exception) -> _Source:
    return _Source(f"{type(error).__name__}", frozenset(), {}, frozenset())


def _parsed(text: bytes, package: str) -> _Source:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:  # whoever imports it will hear of it
        return _unread(error)
    names: dict[str, str] = {}
    imports: set[str] = set()
    lookups: list[ast.Attribute] = []
    homes: dict[str, str] = {}
    texts: set[str] = set()
    for node in ast.walk(tree):
        kind = type(node)
        if kind is ast.Import:
            for alias in node.names:
                imports.add(alias.name)
                top = alias.name.partition(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif kind is ast.ImportFrom:
            base = _absolute(node, package)
            for alias in node.names:
                imports.add(base if alias.name == "*" else f"{base}.{alias.name}")
                names[alias.asname or alias.name] = f"{base}.{alias.name}"
        elif kind is ast.Attribute:
            lookups.append(node)
        elif kind is ast.Constant:
            if isinstance(node.value, str) and node.value.isidentifier():
                texts.add(node.value)
        elif kind is ast.Call:
            imports.update(_imported_by_call(node))
        elif kind is ast.Dict:
            homes |= _homes(node)
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [statement for statement in body if not _is_idle(statement)]
    for lookup in lookups:
        first, *attributes = _dotted(lookup)
        if first in names:
            imports.add(".".join([names[first], *attributes]))
    digest = hashlib.sha256(ast.dump(tree, annotate_fields=False).encode()).hexdigest()
    return _Source(digest, frozenset(imports), homes, frozenset(texts))


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parents = parts[: len(parts) - node.level + 1]
    return ".".join([*parents, *filter(None, [node.module])])


def _imported_by_call(node: ast.Call) -> list[str]:
    function = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
    function = function.id if isinstance(function, ast.Name) else function
    if function != "import_module" or not node.args or not isinstance(node.args[0], ast.Constant):
        return []
    return [node.args[0].value]


def _homes(node: ast.Dict) -> dict[str, str]:
    constants = (
        (key.value, value.value)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
    )
    return {k: v for k, v in constants if isinstance(v, str) and "." in v}


def _is_idle(statement: ast.stmt) -> bool:
    """Whether a statement is a text, such as a docstring, or tells the version of a release."""
    if isinstance(statement, ast.Expr):
        value = statement.value
        return isinstance(value, ast.Constant) and isinstance(value.value, str)
    if isinstance(statement, ast.Assign):
        return [getattr(target, "id", None) for target in statement.targets] == ["__version__"]
    return False


def _dotted(node: ast.expr) -> list[str]:
    attributes = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return [node.id if isinstance(node, ast.Name) else "", *reversed(attributes)]


@cache
def version(package: str) -> str | None:
    """Return the version of the distribution that has a package, None where none has it."""
    named = (f"\n{package}/__init__.py,", f"\n{package}.py,")
    for distribution, files in _installed():
        if any(name in files for name in named):
            return distribution.version
    return None


@cache
def _installed() -> tuple[tuple[Distribution, str], ...]:
    """The distributions of this environment, each with the list of its files."""
    return tuple((one, f"\n{one.read_text('RECORD') or ''}") for one in distributions())
