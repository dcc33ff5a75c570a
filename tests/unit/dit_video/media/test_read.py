"""Reading: limits, damage, rotation, times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dit_video.errors import DataError
from dit_video.media.probe import Limits, probe
from dit_video.media.read import frames, nearest, read
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
