"""How well a VAE gives back what it never saw: PSNR of held-out clips, and originals beside reconstructions.

`python -m datamodules.quickstart.reconstruct dataset=DIR vae=RUN out=DIR [clips=24] [datamodule settings]`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from datamodules.clips import ClipData
from datamodules.dataset import index
from datamodules.quickstart.score import kept
from dit_video import config, log
from dit_video.media.write import write
from dit_video.pipeline.generate import to_frames
from dit_video.pipeline.load import load_vae


@torch.inference_mode()
def reconstruct(
    *, dataset: str, vae: str, out: str, clips: int = 64, shown: int = 12, data: dict[str, Any] | None = None
) -> None:
    """Write vae.json and the first `shown` pairs of MP4s into `out`.

    Args:
        dataset: folder of a curated dataset.
        vae: folder of the VAE's run.
        out: folder to write.
        clips: held-out clips to measure, at most.
        shown: pairs that are written.
        data: settings of the datamodule, as the VAE was trained with.
    """
    folder = Path(out)
    (folder / "vae").mkdir(parents=True, exist_ok=True)
    model = load_vae(vae)
    datamodule = ClipData(dataset=dataset, workers=0, **(data or {}))
    found = index.load(dataset)
    source = dict(zip(found.key, found.source, strict=True))
    rows: list[dict[str, Any]] = []
    for batch in datamodule.validation(clips):
        for key, video in zip(batch.keys, batch.video, strict=True):
            original, copy = to_frames(video), to_frames(model.decode(model.encode(video[None]))[0])
            row: dict[str, Any] = {
                "key": key,
                "source": source[key],
                "frames": len(original),
                "psnr_db": kept(original, copy),
            }
            if len(original) > 1 and sum("original" in r for r in rows) < shown:
                for name, frames in (("original", original), ("reconstruction", copy)):
                    row[name] = f"vae/{key}-{name}.mp4"
                    write(folder / row[name], frames, fps=batch.fps, crf=8)
            rows.append(row)
    (folder / "vae.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    videos = [row["psnr_db"] for row in rows if row["frames"] > 1]
    if not videos:
        log.say("no clip is held out, so there is nothing to measure")
        return
    log.say(
        f"PSNR of {len(videos)} held-out clips: {np.mean(videos):.2f} dB; of all {len(rows)}: "
        f"{np.mean([row['psnr_db'] for row in rows]):.2f} dB"
    )


def main(arguments: list[str]) -> None:
    """Read `key=value` arguments."""
    with config.one_line():
        settings = OmegaConf.to_container(OmegaConf.from_dotlist(arguments))
        assert isinstance(settings, dict)
        log.setup()
        reconstruct(**{str(key): value for key, value in settings.items()})


if __name__ == "__main__":
    main(sys.argv[1:])
