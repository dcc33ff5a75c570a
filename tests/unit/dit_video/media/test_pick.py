from __future__ import annotations

import numpy as np
import pytest

from dit_video.errors import DataError
from dit_video.media import pick, read
from dit_video.media.write import write


def noise(frames: int, height: int, width: int) -> np.ndarray:
    """Textures that move, so that an encoder has use for B-frames."""
    rng = np.random.default_rng(0)
    still = rng.integers(0, 255, (height, width + frames, 3), dtype=np.uint8)
    return np.stack([still[:, at : at + width] for at in range(frames)])


@pytest.fixture(scope="module", params=["ultrafast", "medium"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clips") / "a.mp4"
    write(path, noise(40, 48, 64), fps=30, gop=12, preset=request.param)
    return path.read_bytes()


@pytest.mark.parametrize(("fps", "start", "count"), [(30, 0, 40), (12, 0, 16), (12, 0.61, 5), (60, 1.2, 9)])
@pytest.mark.parametrize("size", [(48, 64), (24, 32), (17, 20)])
def test_the_pixels_are_those_of_the_slow_way(
    clip: bytes, fps: float, start: float, count: int, size: tuple[int, int]
) -> None:
    asked = {"fps": fps, "start": start, "count": count, "fit": lambda native: min(native, size)}
    found = pick.quick(clip, **asked)
    assert found is not None
    assert np.array_equal(found, read.pick(clip, **asked))


def test_what_is_unusual_goes_the_slow_way(clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"fps": 12.0, "start": 0.0, "count": 5, "fit": lambda native: native}
    whole = read.pick(clip, **asked)
    for broken in (
        {"quick": lambda *_, **__: None},
        {"stamps": lambda *_, **__: None},
        {"decoded": lambda *_: iter(())},
    ):
        with monkeypatch.context() as patch:
            for name, function in broken.items():
                patch.setattr(pick, name, function)
            assert np.array_equal(pick.pick(clip, **asked), whole)


@pytest.mark.parametrize("keep", [0, 10, 400, 0.5])
def test_damage_is_a_data_error(clip: bytes, keep: float) -> None:
    cut = clip[: int(keep if keep >= 1 or not keep else keep * len(clip))]
    with pytest.raises(DataError):
        pick.pick(cut, fps=30, start=0, count=40, fit=lambda native: native)


def test_only_what_is_needed_is_decoded(clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    decoded = pick.decoded

    def counted(stream, packets, wanted):  # noqa: ANN001, ANN202
        keys = [at for at, packet in enumerate(packets) if packet.is_keyframe and packet.pts <= wanted[0]]
        seen.append(keys[-1])
        return decoded(stream, packets, wanted)

    monkeypatch.setattr(pick, "decoded", counted)
    pick.pick(clip, fps=30, start=1.0, count=2, fit=lambda native: native)
    assert seen == [24]
