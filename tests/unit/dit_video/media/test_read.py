"""Reading: limits, damage, rotation, colours, times; and picked frames, which are those of the whole."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dit_video.errors import DataError
from dit_video.media import read as module
from dit_video.media.colour import to_rgb
from dit_video.media.probe import Limits, probe
from dit_video.media.read import frames, nearest, nearest_of, pick, read
from dit_video.media.write import write


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve noisy frames of 48x32 at 12 frames a second."""
    noise = np.random.default_rng(0).integers(0, 255, (12, 32, 48, 3), np.uint8)
    write(tmp_path / "clip.mp4", noise, fps=12)
    return tmp_path / "clip.mp4"


def test_probe_and_frames_agree(clip: Path) -> None:
    header = probe(clip)
    assert (header.frames, header.height, header.width, header.fps, header.codec) == (12, 32, 48, 12.0, "h264")
    times = [frame.time for frame in frames(clip)]
    assert times == pytest.approx(np.arange(12) / 12)


@pytest.mark.parametrize(
    "limits", [Limits(pixels=1000), Limits(frames=11), Limits(seconds=0.5), Limits(volume=32 * 48 * 11)]
)
def test_limits(clip: Path, limits: Limits) -> None:
    with pytest.raises(DataError, match=r"limit|more than"):
        read(clip, limits=limits)


def test_damage_is_an_error(clip: Path, tmp_path: Path) -> None:
    data = clip.read_bytes()
    for bad in (data[: len(data) // 2], b"", b"not a video at all" * 100):
        with pytest.raises(DataError):
            read(bad)
    with pytest.raises(DataError, match="no such"):
        read(tmp_path / "absent.mp4")


def test_playlists_are_refused(clip: Path, tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n")
    with pytest.raises(DataError):
        read(playlist)


def test_rotation_is_applied(tmp_path: Path) -> None:
    import av

    image = np.zeros((32, 48, 3), np.uint8)
    image[:, :24] = (255, 0, 0)
    write(tmp_path / "plain.mp4", [image] * 3, fps=12)
    plain = read(tmp_path / "plain.mp4").frames
    with av.open(str(tmp_path / "plain.mp4")) as source, av.open(str(tmp_path / "turned.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(90) if hasattr(stream, "set_display_rotation") else pytest.skip(
            "PyAV cannot write it"
        )
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    header, turned = probe(tmp_path / "turned.mp4"), read(tmp_path / "turned.mp4").frames
    assert header.rotation == 90
    assert (header.height, header.width) == (48, 32)
    assert np.array_equal(turned, np.rot90(plain, axes=(1, 2)))


def test_nearest_is_identity_at_the_own_rate_and_halves_at_half() -> None:
    times = np.arange(10) / 12
    assert nearest(times, fps=12, start=0.0, count=10).tolist() == list(range(10))
    assert nearest(times, fps=6, start=0.0, count=5).tolist() == [0, 2, 4, 6, 8]
    assert nearest(times, fps=24, start=0.0, count=4).tolist() == [0, 0, 1, 1]
    assert nearest(times[:1], fps=24, start=0.0, count=2).tolist() == [0, 0]


def test_a_stream_of_times_gives_the_frames_that_nearest_names() -> None:
    random = np.random.default_rng(0)
    for count in (1, 2, 30):
        times = np.concatenate([[0.0], np.cumsum(random.uniform(0.01, 0.2, count - 1))])
        for fps, start in [(12.0, 0.0), (30.0, 0.4), (3.0, 1.7), (1 / times[-1] if count > 1 else 1.0, 0.0)]:
            wanted = start + np.arange(9) / fps
            found = [*nearest_of(iter(list(zip(times.tolist(), range(count), strict=True))), wanted)]
            assert found == nearest(times, fps=fps, start=start, count=9).tolist()


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Five seconds of noise at 12 frames a second, a key frame every eight."""
    noise = np.random.default_rng(1).integers(0, 255, (60, 32, 48, 3), np.uint8)
    write(tmp_path / "long.mp4", noise, fps=12, gop=8)
    return tmp_path / "long.mp4"


@pytest.mark.parametrize(("fps", "start"), [(12, 0.0), (12, 2 / 3), (12, 47 / 12), (5, 0.75), (24, 1.2), (3, 4.9)])
def test_picked_frames_are_those_of_the_whole(long: Path, fps: float, start: float) -> None:
    whole = read(long)
    picks = nearest(whole.times, fps=fps, start=start, count=7)
    assert np.array_equal(pick(long.read_bytes(), fps=fps, start=start, count=7), whole.frames[picks])


def test_decoding_begins_at_a_key_frame_and_ends_with_the_last_pick(
    long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    stamped = module.stamped

    def spy(*given: object, **named: object) -> object:
        for time, frame in stamped(*given, **named):  # type: ignore[arg-type]
            seen.append(time)
            yield time, frame

    monkeypatch.setattr(module, "stamped", spy)
    with module.opened(long, limits=Limits()) as (_, _, timed):
        keys = [round(12 * time) for time, frame in timed if frame.key_frame]
    seen.clear()
    pick(long, fps=12, start=34 / 12, count=3)
    begun = max(key for key in keys if key <= 34)
    assert begun > 0
    assert np.round(np.array(seen) * 12).tolist() == [*range(begun, 37)]


def test_picked_frames_are_scaled_as_by_area(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(80, 176, (5, 18, 32, 3), np.uint8)
    smooth = [cv2.resize(image, (320, 180), interpolation=cv2.INTER_CUBIC) for image in noise]
    write(tmp_path / "a.mp4", smooth, fps=12)
    small = pick(tmp_path / "a.mp4", fps=12, start=0.0, count=5, fit=lambda size: (size[0] // 3, size[1] // 3))
    whole = [cv2.resize(image, (106, 60), interpolation=cv2.INTER_AREA) for image in read(tmp_path / "a.mp4").frames]
    error = np.abs(small.astype(np.int64) - np.stack(whole))
    assert error.mean() < 1
    assert error.max() <= 8


def test_conversion_neither_darkens_nor_brightens() -> None:
    import av
    from av.video.reformatter import VideoReformatter

    luma = np.tile(np.arange(16, 236, dtype=np.uint8), (8, 1))  # limited range: 16 is black, 235 white
    planes = np.concatenate([luma, np.full((4, 220), 128, np.uint8)])
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    shown = to_rgb(frame, VideoReformatter(), size=(8, 220), rotation=0).astype(np.float64)
    error = shown - ((luma.astype(np.float64) - 16) * 255 / 219)[..., None]
    assert np.abs(error).max() <= 1
    assert abs(error.mean()) < 0.2
