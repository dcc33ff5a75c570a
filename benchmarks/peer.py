"""One contestant of benchmarks/loader.py, in an environment of its own: numpy, torch, PyAV and the peer's package.

    PYTHON benchmarks/peer.py KIND FOLDER

KIND is bare, webdataset, litdata or mosaicml. FOLDER holds clips.json: of every clip its tar, place, size and what is
asked of it. Each line `WORKERS SAMPLES` on standard input is answered by `WALL CPU SAMPLES`: seconds, and CPU seconds
of this process and its workers, from the first batch to the last. No contestant but ours checks hashes, and all others
give bytes, where ours gives float32. All decode and scale by `plain`, the shortest use of PyAV that does the work.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

BATCH = 4
SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def plain(data: bytes, about: dict[str, Any], start: int) -> np.ndarray:
    """Frames of a clip, `start` and on at the wanted rate, in the size wanted, uint8 (t, h, w, 3)."""
    wanted = {round((start + at) * about["fps"] / about["rate"]) for at in range(about["frames"])}
    height, width = about["covering"]
    rows, columns = about["size"]
    top, left = (height - rows) // 2, (width - columns) // 2
    reformatter, images = VideoReformatter(), []
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            place = round(frame.time * about["fps"])
            if place in wanted:
                small = reformatter.reformat(
                    frame, width=width, height=height, format="rgb24", interpolation=SCALING, threads=1
                )
                images.append(small.to_ndarray()[top : top + rows, left : left + columns])
            if place >= max(wanted):
                break
    return np.stack(images)


def drawn(about: dict[str, Any]) -> int:
    """A start among those a clip allows."""
    return int(np.random.randint(about["spare"] + 1))


def read(about: dict[str, Any]) -> bytes:
    """The bytes of a clip."""
    with Path(about["tar"]).open("rb") as file:
        return os.pread(file.fileno(), about["bytes"], about["offset"])


def cpu(pid: int) -> float:
    """CPU seconds of a process and of all that were or are under it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    under = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu(int(child)) for child in under)


def timed(epoch: Callable[[], Iterable[Any]], samples: int) -> tuple[float, float, int]:
    """Wall and CPU seconds of at least so many samples, epoch after epoch, from the first batch on."""
    batches, done = endless(epoch), 0
    next(batches)
    since, before = time.perf_counter(), cpu(os.getpid())
    for batch in batches:
        done += len(batch)
        if done >= samples:
            break
    return time.perf_counter() - since, cpu(os.getpid()) - before, done


def endless(epoch: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """Batches without end."""
    while True:
        yield from epoch()


def shares(work: Callable[[int, int], None], *, workers: int) -> tuple[float, float]:
    """Wall and CPU seconds of `work(number, of)` in processes that begin together."""
    context = multiprocessing.get_context("fork")
    gate, clock = context.Barrier(workers + 1), context.Array("d", workers)

    def run(number: int) -> None:
        gate.wait()
        work(number, workers)
        clock[number] = time.process_time()

    processes = [context.Process(target=run, args=(number,)) for number in range(workers)]
    for process in processes:
        process.start()
    gate.wait()
    since = time.perf_counter()
    for process in processes:
        process.join()
    return time.perf_counter() - since, sum(clock)


def bare(clips: list[dict[str, Any]], folder: Path, workers: int, samples: int) -> tuple[float, float, int]:
    """Reading, decoding and scaling, and nothing else: no batches, no hashes, no way to another process."""
    del folder
    jobs = [clips[at % len(clips)] for at in np.random.default_rng(0).permutation(samples)]

    def work(number: int, of: int) -> None:
        for about in jobs[number::of]:
            plain(read(about), about, drawn(about))

    return (*shares(work, workers=workers), samples)


def webdataset(clips: list[dict[str, Any]], folder: Path, workers: int, samples: int) -> tuple[float, float, int]:
    """Our own shards, by their names alone."""
    import webdataset as wds
    from torch.utils.data import DataLoader

    del folder
    known = {about["key"]: about for about in clips}
    made = partial(from_shard, known)
    urls = sorted({about["tar"] for about in clips})
    dataset = wds.WebDataset(urls, shardshuffle=100, workersplitter=wds.split_by_worker)
    dataset = dataset.select(lambda sample: sample["__key__"] in known).shuffle(64).map(made)
    loader = DataLoader(dataset, batch_size=BATCH, num_workers=workers, collate_fn=list, persistent_workers=True)
    return timed(lambda: loader, samples)


def from_shard(known: dict[str, dict[str, Any]], sample: dict[str, Any]) -> np.ndarray:
    """A sample of a tar."""
    about = known[sample["__key__"]]
    return plain(sample["mp4"], about, drawn(about))


def litdata(clips: list[dict[str, Any]], folder: Path, workers: int, samples: int) -> tuple[float, float, int]:
    """Chunks made by `optimize`, which hold the bytes of each clip and what is asked of it."""
    import litdata as ld

    store = folder / "litdata"
    if not store.is_dir():
        ld.optimize(record, clips, str(store), chunk_bytes="64MB", num_workers=1, start_method="fork")

    class Clips(ld.StreamingDataset):
        def __getitem__(self, place: Any) -> np.ndarray:
            return from_record(super().__getitem__(place))

    dataset = Clips(str(store), shuffle=True)
    given = {"batch_size": BATCH, "num_workers": workers, "collate_fn": list, "persistent_workers": True}
    loader = ld.StreamingDataLoader(dataset, **given)
    return timed(lambda: loader, samples)


def mosaicml(clips: list[dict[str, Any]], folder: Path, workers: int, samples: int) -> tuple[float, float, int]:
    """MDS shards of the same; torchvision, which it imports and does not need here, is left out."""
    import transformers.feature_extraction_utils  # noqa: F401 before the stand-in for torchvision

    names = {"datasets": ("VisionDataset", "CIFAR10"), "transforms": (), "transforms.functional": ("to_tensor",)}
    sys.modules["torchvision"] = types.ModuleType("torchvision")
    for name, members in names.items():
        sys.modules[f"torchvision.{name}"] = module = types.ModuleType(f"torchvision.{name}")
        for member in members:
            setattr(module, member, object)
    from streaming import MDSWriter, StreamingDataset
    from torch.utils.data import DataLoader

    store = folder / "mosaicml"
    if not store.is_dir():
        with MDSWriter(out=str(store), columns={"data": "bytes", "about": "json"}) as out:
            for about in clips:
                out.write(record(about))

    class Clips(StreamingDataset):
        def __getitem__(self, place: Any) -> np.ndarray:
            return from_record(super().__getitem__(place))

    dataset = Clips(local=str(store), shuffle=True, batch_size=BATCH)
    loader = DataLoader(dataset, batch_size=BATCH, num_workers=workers, collate_fn=list, persistent_workers=True)
    return timed(lambda: loader, samples)


def record(about: dict[str, Any]) -> dict[str, Any]:
    """A clip for a peer's own format."""
    return {"data": read(about), "about": about}


def from_record(found: dict[str, Any]) -> np.ndarray:
    """A clip in a peer's own format."""
    return plain(found["data"], found["about"], drawn(found["about"]))


def serve(answer: Callable[[int, int], tuple[float, float, int]]) -> None:
    """Answer the lines of standard input; what a package says goes to standard error."""
    out, sys.stdout = sys.stdout, sys.stderr
    out.write("ready\n")
    out.flush()
    for line in sys.stdin:
        workers, samples = map(int, line.split())
        out.write(" ".join(map(str, answer(workers, samples))) + "\n")
        out.flush()


def main(kind: str, folder: Path) -> None:
    """Be a contestant."""
    clips = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
    kinds = {"bare": bare, "webdataset": webdataset, "litdata": litdata, "mosaicml": mosaicml}
    serve(partial(kinds[kind], clips, folder))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
