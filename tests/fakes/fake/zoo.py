"""Two hundred files that a folder of raw videos may hold and that no decoder should trip over.

Equal calls make equal files. Each name begins with its number and kind; those that are in good order, under odd names,
are of the kind "name".
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np

COUNT = 200
Make = Callable[[Path], None]
CODECS = {"mp4": "libx264", "mkv": "libx264", "avi": "mpeg4", "webm": "libvpx"}
NAMES = (
    *("it's", 'say "so"', "two\nlines", "tab\there", " spaces ", "-rf", "$(touch owned)", "%s %d {}", "back\\slash"),
    *("курица", "鶏と卵", "دجاجة", "\u202egnp", "🐔", "e\u0301 combined", "a" * 200, "semi;colon&and|pipe", "*?[x]"),
)


def video(form: str = "mp4", *, frames: int = 24, height: int = 48, width: int = 64) -> bytes:
    """A moving bar as the bytes of a file."""
    target = io.BytesIO()
    with av.open(target, "w", format={"mkv": "matroska"}.get(form, form)) as container:
        stream = container.add_stream(CODECS[form], rate=12)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for at in range(frames):
            image = np.full((height, width, 3), 40, np.uint8)
            image[:, (2 * at) % width : (2 * at) % width + 8] = (200, 160, 20)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return target.getvalue()


def bomb(*, frames: int, height: int, width: int) -> bytes:
    """A small video of many large frames that are all the same."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=12, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([90]) * plane.buffer_size)
        for at in range(frames):
            frame.pts = at
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return target.getvalue()


def sound(form: str) -> bytes:
    """A file with sound alone."""
    target = io.BytesIO()
    with av.open(target, "w", format={"mkv": "matroska"}.get(form, form)) as container:
        stream = container.add_stream("aac", rate=44100)
        for at in range(10):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, 1024 * at
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return target.getvalue()


def silent_header(form: str) -> bytes:
    """A video of no frames at all."""
    target = io.BytesIO()
    with av.open(target, "w", format={"mkv": "matroska"}.get(form, form)) as container:
        stream = container.add_stream(CODECS[form], rate=12)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.start_encoding()
    return target.getvalue()


def png(height: int, width: int, *, rows: int | None = None) -> bytes:
    """A black PNG that says it is of this size, with `rows` of it; zeros by the gigabyte take kilobytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer, data = zlib.compressobj(1), b""
    for _ in range(height if rows is None else rows):
        data += packer.compress(bytes(1 + 3 * width))
    data += packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def sized(data: bytes, *, height: int, width: int) -> bytes:
    """An MP4 whose sample entry gives another size."""
    at = data.index(b"avc1", data.index(b"stsd")) + 4 + 24
    return data[:at] + struct.pack(">HH", width, height) + data[at + 4 :]


def flipped(data: bytes, *, seed: int) -> bytes:
    """The data with 1 to 128 random bits turned."""
    rng = np.random.default_rng(seed)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    bits[rng.integers(0, len(bits), 2 ** (seed % 8))] ^= 1
    return np.packbits(bits).tobytes()


def write(data: bytes | Callable[[], bytes]) -> Make:
    """Makes a file of data, or of what a function gives when the time has come."""

    def make(path: Path) -> None:
        path.write_bytes(data if isinstance(data, bytes) else data())

    return make


def link(target: str | Path) -> Make:
    """Makes a symbolic link."""
    return lambda path: path.symlink_to(target)


def cut_off(whole: dict[str, bytes]) -> Iterator[tuple[str, Make]]:
    """Three files, each cut at twenty places."""
    for form in ("mp4", "mkv", "avi"):
        for place in range(1, 21):
            yield f"cut at {place}.{form}", write(whole[form][: len(whole[form]) * place // 21])


def no_video(whole: dict[str, bytes]) -> Iterator[tuple[str, Make]]:
    """Nothing, noise, sound, text, playlists, and files under the suffix of others."""
    for suffix in ("mp4", "mkv", "avi", "webm", "png", "jpg"):
        yield f"empty.{suffix}", write(b"")
        yield f"noise.{suffix}", write(np.random.default_rng(len(suffix)).bytes(5000))
        yield f"text.{suffix}", write(b"This is no video.\n" * 100)
    for form in ("mp4", "mkv", "avi"):
        yield f"sound.{form}", write(sound(form))
    for form in ("mp4", "mkv"):
        yield f"no frames.{form}", write(silent_header(form))
    yield "list.mp4", write(b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n")
    yield "list.mkv", write(b"ffconcat version 1.0\nfile /etc/hostname\n")
    yield "drawing.png", write(b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/hostname'/></svg>")
    for form, suffix in [
        ("mp4", "avi"),
        ("mp4", "png"),
        ("webm", "mp4"),
        ("avi", "jpg"),
        ("png", "mp4"),
        ("mkv", "dat"),
    ]:
        yield f"really {form}.{suffix}", write(whole[form])
    yield "notes", write(b"not media")


def absurd(whole: dict[str, bytes]) -> Iterator[tuple[str, Make]]:
    """Sizes that no memory holds, in headers and for true."""
    yield "size.png", write(png(2**31 - 1, 2**31 - 1, rows=0))
    yield "size 0.png", write(png(0, 0, rows=0))
    yield "few rows.png", write(png(4000, 4000, rows=10))
    yield "size.jpg", write(b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01" * 9)
    yield "size.bmp", write(b"BM" + bytes(16) + struct.pack("<ii", 2**31 - 1, -(2**31) + 1) + bytes(200))
    yield "size.webp", write(b"RIFF\x00\x01\x00\x00WEBPVP8X" + bytes(8) + b"\xff" * 6 + bytes(200))
    yield "size.gif", write(b"GIF89a\xff\xff\xff\xff\x80\x00\x00" + bytes(500))
    yield "size.y4m", write(b"YUV4MPEG2 W2000000000 H2000000000 F25:1\nFRAME\n" + bytes(500))
    yield "size.mp4", write(sized(whole["mp4"], height=65535, width=65535))
    yield "bomb.png", write(partial(png, 20_000, 20_000))  # 1.2 GB
    yield "bomb.mp4", write(partial(bomb, frames=40, height=2304, width=4096))  # 1.1 GB in frames of 28 MB


def odd_files() -> Iterator[tuple[str, Make]]:
    """Links that lead nowhere, out, in circles and to what never ends."""
    yield "link in.mp4", link("000 name 0.mp4")
    yield "link out.mp4", link("/etc/hostname")
    yield "link to nothing.mp4", link("absent.mp4")
    yield "link to itself.mp4", lambda path: path.symlink_to(path.name)
    yield "link to a folder.mp4", link("..")
    yield "link in circles", link(".")
    yield "zeros.png", link("/dev/zero")
    yield "null.mp4", link("/dev/null")
    yield "pipe.mp4", os.mkfifo
    yield "folder.mp4", lambda path: path.mkdir()


def named(whole: dict[str, bytes]) -> Iterator[tuple[str, Make]]:
    """Good files under odd names."""
    for name in NAMES:
        yield f"{name}.mp4", write(whole["mp4"])
    yield os.fsdecode(b"not \xff utf-8.mp4"), write(whole["mp4"])


def zoo() -> Iterator[tuple[str, str, Make]]:
    """`COUNT` kinds, names and makers."""
    whole = {form: video(form) for form in CODECS} | {"png": png(40, 40)}
    yield "name", "0.mp4", write(whole["mp4"])
    kinds = {"cut": cut_off(whole), "wrong": no_video(whole), "absurd": absurd(whole), "odd": odd_files()}
    made = 1
    for kind, files in (kinds | {"name": named(whole)}).items():
        for name, make in files:
            made += 1
            yield kind, name, make
    for seed in range(COUNT - made):
        form = tuple(CODECS)[seed % len(CODECS)]
        yield "flipped", f"{seed}.{form}", write(flipped(whole[form], seed=seed))


def build(folder: Path, *, every: int = 1, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Make every so manieth of the files in `folder`, without some kinds; the kind of each by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for number, (kind, name, make) in enumerate(zoo()):
        if (number % every == 0 or number == 0) and kind not in without:
            path = folder / f"{number:03d} {kind} {name}"
            make(path)
            made[path.name] = kind
    return made
