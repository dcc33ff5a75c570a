"""What a step still has to do is known without a model, and is what the step then does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datamodules import commands
from datamodules.prepare import __main__ as command
from datamodules.prepare import extent
from datamodules.prepare.captions import captions
from datamodules.prepare.curate import curate
from datamodules.prepare.duplicates import duplicates
from dit_video import signature
from dit_video.errors import CheckpointError, ConfigError, DataError, UserError


def settings(step: str, **given: Any) -> dict[str, Any]:
    """All settings of a step, as the command has them."""
    takes = signature.read(command.steps()[step])
    assert takes is not None
    assert set(given) <= set(takes.arguments)
    return commands.defaults(takes) | given


def test_every_step_says_how_far_it_has_come() -> None:
    assert set(extent.STEPS) == set(command.steps())


def test_what_is_missing_of_a_dataset_is_what_is_curated_next(raw: Path, dataset: Path) -> None:
    given = settings("curate", source=str(raw), dataset=str(dataset))
    assert extent.curated(given).missing == ()
    assert extent.curated(given).ended
    for number in (2, 5):
        (dataset / f"index/{number:06d}.parquet").unlink()
    (dataset / "dataset.json").unlink()
    found = extent.curated(given)
    assert (found.shards, found.missing, found.ended) == (8, (2, 5), False)
    curate(source=str(raw), dataset=str(dataset), workers=0, part="2/8")
    assert extent.curated(given).missing == (5,)
    curate(source=str(raw), dataset=str(dataset), workers=0)
    assert extent.curated(given).ended


def test_nothing_is_written_by_looking(raw: Path, tmp_path: Path) -> None:
    found = extent.curated(settings("curate", source=str(raw), dataset=str(tmp_path / "new")))
    assert found.missing == tuple(range(8))
    assert not (tmp_path / "new").exists()


def test_what_is_missing_of_a_sidecar_has_no_table(dataset: Path, tmp_path: Path) -> None:
    given = settings("encode", dataset=str(dataset), vae=str(tmp_path), sizes=["17x32x48"], dtype="float32")
    with pytest.raises(ConfigError, match="buckets="):
        extent.encoded(given)
    (dataset / "latents/vae/recipe.json").unlink()
    assert extent.encoded(given).missing == ()
    for number in (0, 7):
        (dataset / f"latents/vae/{number:06d}.parquet").unlink()
    found = extent.encoded(given)
    assert (found.name, found.shards, found.missing, found.parted) == ("vae", 8, (0, 7), True)
    assert extent.encoded(given | {"name": "other"}).missing == tuple(range(8))


def test_what_jobs_cannot_share_is_one_job(raw: Path, dataset: Path) -> None:
    table = str(raw / "captions.csv")
    given = settings("captions", dataset=str(dataset), captions_csv=table, name="full")
    captions(dataset=str(dataset), captions_csv=table, name="full")
    found = extent.captioned(given)
    assert (found.shards, found.missing, found.parted) == (1, (0,), False)
    pairs = settings("duplicates", dataset=str(dataset))
    assert extent.paired(pairs).missing == (0,)
    duplicates(dataset=str(dataset))
    assert extent.paired(pairs).missing == ()
    assert extent.paired(pairs | {"distance": 3}).missing == (0,)


def test_all_is_verified_each_time(dataset: Path) -> None:
    assert extent.verified(settings("verify", dataset=str(dataset))).missing == tuple(range(8))
    with pytest.raises(DataError, match="latents/vae"):
        extent.verified(settings("verify", dataset=str(dataset), name="latents/other"))


WRONG: dict[str, tuple[str, dict[str, Any], type[UserError]]] = {
    "is not a folder": ("curate", {"source": "absent"}, DataError),
    "workers=-1": ("curate", {"source": "absent", "workers": -1}, ConfigError),
    "vae=absent is not there": ("encode", {"vae": "absent"}, CheckpointError),
    "dtype=float8": ("encode", {"vae": "absent", "dtype": "float8"}, ConfigError),
    "batch must be at least 1": ("encode", {"vae": "absent", "batch": 0}, ConfigError),
    "has no checkpoint yet": ("recaption", {"recaptioner": "RUN"}, CheckpointError),
    "has no captions/hand": ("recaption", {"recaptioner": "RUN", "keep": "hand"}, DataError),
    "max_tokens must be": ("recaption", {"recaptioner": "RUN", "max_tokens": 0}, ConfigError),
    "name=source cannot": ("recaption", {"recaptioner": "RUN", "name": "source"}, ConfigError),
    "model=absent is no folder": ("score", {"model": "absent"}, ConfigError),
    "head=absent is no file": ("score", {"model": "absent", "head": "absent"}, ConfigError),
    "has no captions/dense": ("score", {"model": "absent", "captions": "dense"}, DataError),
    "cannot read captions_csv=absent": ("captions", {"captions_csv": "absent", "name": "a"}, DataError),
    "distance must be from 0": ("duplicates", {"distance": 65}, ConfigError),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_is_wrong_is_told_before_anything_is_submitted(said: str, dataset: Path, tmp_path: Path) -> None:
    step, given, error = WRONG[said]
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").touch()
    given = {key: str(tmp_path / "run") if value == "RUN" else value for key, value in given.items()}
    with pytest.raises(error, match=said):
        extent.STEPS[step](settings(step, dataset=str(dataset), **given))


def test_no_torch_is_imported(dataset: Path, tmp_path: Path) -> None:
    given = {step: settings(step, dataset=str(dataset)) for step in extent.STEPS}
    given["encode"] |= {"vae": str(tmp_path), "name": "new"}
    program = f"""
import sys
from datamodules.prepare import extent
for step in ("encode", "duplicates", "verify"):
    extent.STEPS[step]({given!r}[step])
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
