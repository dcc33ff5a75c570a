"""The test path is the source path; a file without a twin is listed here with its reason."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REASONS = {
    "dit_video/start.py": "tests/unit/test_train.py: runs begin, go on, are refused and end",
    "dit_video/launch/group.py": "tests/unit/dit_video/launch/test_supervise.py: processes begin, fail and end",
    "dit_video/callbacks/reseed.py": "tests/unit/test_train.py: a resumed run with dropout is bit-identical",
    "dit_video/callbacks/schedule.py": "tests/unit/test_train.py: rates of the resumed run are those of the whole one",
}


def lacking() -> set[str]:
    """Source files that define something and have no test file."""
    found = set()
    for path in (ROOT / "dit_video").rglob("*.py"):
        relative = path.relative_to(ROOT)
        if path.name == "__init__.py":
            continue
        twin = ROOT / "tests/unit" / relative.parent / f"test_{path.name}"
        if not twin.exists():
            found.add(relative.as_posix())
    return found


def test_every_source_has_a_twin_or_a_reason() -> None:
    assert lacking() - set(REASONS) == set()


def test_no_reason_outlives_its_file() -> None:
    assert set(REASONS) - lacking() == set()
