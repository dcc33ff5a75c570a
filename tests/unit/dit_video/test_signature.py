from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from dit_video import signature


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sigpack"
    (folder / "deep").mkdir(parents=True)
    (folder / "__init__.py").write_text("from sigpack.deep import Made as Public\nfrom os import system\nimport os\n")
    (folder / "deep" / "__init__.py").write_text("from .inner import Made, Child, Record, Open, make\nAlias = Made\n")
    (folder / "deep" / "inner.py").write_text(
        "raise RuntimeError('imported')\n"
        "from dataclasses import dataclass, field\n"
        "class Made:\n"
        "    def __init__(self, first, *, second: int = 3, third: str): ...\n"
        "    @classmethod\n"
        "    def load(cls, path: str, strict: bool = True): ...\n"
        "class Child(Made):\n"
        "    limit = 3\n"
        "@dataclass(frozen=True)\n"
        "class Base:\n"
        "    a: int\n"
        "@dataclass\n"
        "class Record(Base):\n"
        "    b: list = field(default_factory=list)\n"
        "    c: int = field(init=False)\n"
        "    d: ClassVar[int] = 3\n"
        "class Open(Unknown):\n"
        "    pass\n"
        "def make(width: int, **rest): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    signature._file.cache_clear()


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("target", "required", "optional"),
    [
        ("sigpack.Public", {"first", "third"}, {"second"}),
        ("sigpack.deep.Made", {"first", "third"}, {"second"}),
        ("sigpack.deep.Alias", {"first", "third"}, {"second"}),
        ("sigpack.deep.Child", {"first", "third"}, {"second"}),
        ("sigpack.deep.inner.Record", {"a"}, {"b"}),
        ("sigpack.Public.load", {"path"}, {"strict"}),
        ("sigpack.deep.make", {"width"}, set()),
    ],
)
def test_arguments_are_read_without_importing(target: str, required: set[str], optional: set[str]) -> None:
    found = signature.read(target)
    assert found is not None
    assert {name for name, argument in found.arguments.items() if argument.required} == required
    assert {name for name, argument in found.arguments.items() if not argument.required} == optional
    assert found.module == "sigpack.deep.inner"
    assert found.open == target.endswith("make")


@pytest.mark.usefixtures("package")
def test_what_cannot_be_read_is_open_or_nothing() -> None:
    found = signature.read("sigpack.deep.Open")
    assert found is not None
    assert found.open
    for target in ("sigpack.os.system", "sigpack.nothing", "nopackage.X", "sigpack", "sigpack.deep.inner", ""):
        assert signature.read(target) is None
    escaped = signature.read("sigpack.system")
    assert escaped is None or escaped.module == "os"
    assert "Public" in signature.names("sigpack")


def test_lightning_is_read_in_its_source() -> None:
    code = (
        "import sys; from dit_video import signature; found = signature.read('lightning.pytorch.Trainer');"
        "assert {'devices', 'precision'} <= set(found.arguments) and not found.open;"
        "assert not {'torch', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("Made", ("sigpack.deep.inner.Made",)),
        ("Made | None", ("sigpack.deep.inner.Made",)),
        ("'Made | Alias'", ("sigpack.deep.inner.Made", "sigpack.deep.inner.Made")),
        ("int | None", ()),
        ("make", ()),
        ("Mapping[str, Made]", ()),
    ],
)
def test_classes_of_an_annotation(annotation: str, expected: tuple[str, ...]) -> None:
    node = ast.parse(annotation, mode="eval").body
    assert signature.classes("sigpack.deep", node) == expected
