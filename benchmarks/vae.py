"""Our VAE beside those of diffusers, all from random weights: what they learn by the minute, what they cost.

    PYTHONPATH=. python benchmarks/vae.py CLIPS [minutes=10] [seeds=3] [tune=1] [rates=...] [parts=...]

CLIPS is a folder of videos. All are scaled to 128 pixels of their shorter side; the first 70 % of each are trained on,
the last 30 % are tested on. `parts` are learn, speed and cost, `races` 4x8x8 and 8x32x32; all, unless some are
named; `rounds=5` are those of speed.

- `learn`: two races, 4x8x8 with 16 channels and 8x32x32 with 128, of models of about 5 million parameters. In a race
  all have the same clips in the same order, the same batch, loss (dit_video.flow.reconstruction), optimizer (AdamW,
  gradients clipped at 1, a warm-up, then a constant rate) and as much CPU time of one thread: forward,
  backward and update count, and for ours the start at principal components too. They take turns step by step: next is
  whoever has used the least, so what else the machine does hits all alike. Each one's rate is the best of four for
  itself, by PSNR on the first frames of the training parts after `tune` minutes with another seed; `rates=wan:2e-3,...`
  names those of a race instead.
- `speed`: frames per CPU second and peak memory above that of the model at rest, 17 frames of 128x128, at base width
  32: `ours, as wide` has Wan's widths at half, a quarter and an eighth of the resolution and as many blocks, and no
  stage at full resolution; `ours` is models/vae=s. Medians of rounds that take turns.
- `cost`: GFLOP for a megapixel of video, 17 frames of 256x256, counted by PyTorch without computing, of the published
  configs and of ours.

Goals: ahead at every time from two minutes on; four times Wan's frames per second in encoding and five times in
decoding; at most 1,000 GFLOP a megapixel for models/vae=b each way.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import cv2
import torch
from einops import rearrange
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.results import merge
from dit_video import log
from dit_video.flow.reconstruction import Reconstruction
from dit_video.media.read import frames
from dit_video.models.vae import VAE
from dit_video.models.vae.init import principal
from dit_video.optim.adamw import AdamW
from dit_video.seeds import generator

SHORT, TRAINED = 128, 0.7
RATES = (5e-4, 1e-3, 2e-3, 4e-3)
WARM = {"ours": 40}
"""Steps of warm-up, ten for all others: ours has a start to lose, they make fewer steps."""
LOSS = Reconstruction(kl=1e-6)
STARTS = 24
"""Batches that our principal components are taken from."""


class Peer(nn.Module):
    """A VAE of diffusers, with the calls that this file makes of ours."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, video: Tensor, source: torch.Generator) -> tuple[Tensor, Tensor]:
        """Reconstruction of a sample of the posterior, and its divergence."""
        posterior = self.model.encode(video).latent_dist
        latent = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=source)
        return self.decode(latent), 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar)

    def encode(self, video: Tensor) -> Tensor:
        """The mean of the posterior."""
        mean: Tensor = self.model.encode(video).latent_dist.mean
        return mean

    def decode(self, latent: Tensor) -> Tensor:
        """A video of a latent."""
        video: Tensor = self.model.decode(latent).sample
        return video


class Ours(nn.Module):
    """Ours, with the same calls."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, video: Tensor, source: torch.Generator) -> tuple[Tensor, Tensor]:
        """As Peer's."""
        made, posterior = self.model(video, torch.randn(self.model.latent_shape(video), generator=source))
        return made, posterior.kl()

    def encode(self, video: Tensor) -> Tensor:
        """As Peer's."""
        return self.model.encode(video)

    def decode(self, latent: Tensor) -> Tensor:
        """As Peer's."""
        return self.model.decode(latent)


def ours(name: str, **changes: Any) -> Callable[[], nn.Module]:
    """Ours of a config of conf/models/vae."""
    found = OmegaConf.merge(OmegaConf.load(f"conf/models/vae/{name}.yaml"), changes)
    return lambda: Ours(instantiate(found)())


def wan(width: int) -> nn.Module:
    """Wan 2.1's VAE; its own has width 96."""
    from diffusers import AutoencoderKLWan

    return Peer(AutoencoderKLWan(base_dim=width, z_dim=16))


def cogvideox(width: int) -> nn.Module:
    """CogVideoX's VAE; its own has width 128 and norms of 32 groups."""
    from diffusers import AutoencoderKLCogVideoX

    about = {
        "block_out_channels": (width, 2 * width, 2 * width, 4 * width),
        "down_block_types": ("CogVideoXDownBlock3D",) * 4,
        "up_block_types": ("CogVideoXUpBlock3D",) * 4,
        "norm_num_groups": math.gcd(width, 32),
    }
    return Peer(AutoencoderKLCogVideoX(latent_channels=16, **about))


def ltx(width: int, *, layers: tuple[int, ...] = (4, 3, 3, 3, 4)) -> nn.Module:
    """LTX-Video's VAE; its own has width 128."""
    from diffusers import AutoencoderKLLTXVideo

    widths = (width, 2 * width, 4 * width, 4 * width)
    about = {"block_out_channels": widths, "decoder_block_out_channels": widths}
    about |= {"layers_per_block": layers, "decoder_layers_per_block": layers}
    return Peer(AutoencoderKLLTXVideo(latent_channels=128, **about))


@dataclass(frozen=True, kw_only=True)
class Race:
    """Who learns beside whom, on clips of what size."""

    contestants: Mapping[str, Callable[[], nn.Module]]
    shape: tuple[int, int, int]
    batch: int = 2


RACES = {
    "4x8x8": Race(
        contestants={"ours": ours("s"), "wan": lambda: wan(19), "cogvideox": lambda: cogvideox(19)}, shape=(9, 64, 64)
    ),
    "8x32x32": Race(
        contestants={"ours": ours("s_8x32x32"), "ltx": lambda: ltx(16, layers=(2, 2, 2, 2, 2))}, shape=(17, 96, 96)
    ),
}
SPEED = {
    "ours": ours("s"),
    "ours, as wide": ours("b", widths=[64, 128, 128], blocks=[2, 2, 2]),
    "wan": lambda: wan(32),
    "cogvideox": lambda: cogvideox(32),
}
"""At equal base width."""
PUBLISHED = {"wan 2.1": lambda: wan(96), "cogvideox": lambda: cogvideox(128), "ltx": lambda: ltx(128)}


def clips_of(folder: Path) -> tuple[list[Tensor], list[Tensor]]:
    """Frames (t, h, w, 3) uint8 of each video, those to train on and those to test on."""
    trained, tested = [], []
    for path in sorted(folder.glob("*.mp4")):
        images = [frame.image for frame in frames(path)]
        height, width = images[0].shape[:2]
        scale = SHORT / min(height, width)
        size = round(width * scale), round(height * scale)
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        clip = torch.stack([torch.from_numpy(cv2.resize(image, size, interpolation=method)) for image in images])
        cut = round(len(clip) * TRAINED)
        trained.append(clip[:cut])
        tested.append(clip[cut:])
    return trained, tested


def to_video(clip: Tensor) -> Tensor:
    """Frames (t, h, w, 3) uint8 to (3, t, h, w) in [-1, 1]."""
    return rearrange(clip, "t h w c -> c t h w").float() / 127.5 - 1


def drawn(clips: list[Tensor], race: Race, source: torch.Generator) -> Tensor:
    """A batch of crops, every clip and place as likely."""
    made = []
    for _ in range(race.batch):
        clip = clips[int(torch.randint(len(clips), (), generator=source))]
        t, h, w = (
            int(torch.randint(whole - part + 1, (), generator=source))
            for whole, part in zip(clip.shape[:3], race.shape, strict=True)
        )
        frames_, height, width = race.shape
        made.append(to_video(clip[t : t + frames_, h : h + height, w : w + width]))
    return torch.stack(made)


def centre(clip: Tensor, *, count: int, size: int = 96) -> Tensor:
    """The first frames of a clip, cropped at the centre, as a batch of one."""
    top, left = (clip.shape[1] - size) // 2, (clip.shape[2] - size) // 2
    return to_video(clip[:count, top : top + size, left : left + size])[None]


@torch.no_grad()
def psnr(model: Any, videos: list[Tensor]) -> float:
    """Mean over videos, of reconstructions of the posterior's mean, in dB."""
    errors = [(model.decode(model.encode(video)).clamp(-1, 1) - video).square().mean().item() for video in videos]
    return mean(10 * math.log10(4 / error) for error in errors)


@dataclass(kw_only=True)
class Runner:
    """A model that learns, and the CPU seconds it has used."""

    name: str
    model: nn.Module
    rate: float
    source: torch.Generator
    used: float = 0.0
    steps: int = 0
    curve: list[tuple[float, float]] = field(default_factory=list)

    def start(self, clips: list[Tensor], race: Race) -> None:
        """Principal components for ours, and the optimizer."""
        begun = time.process_time()
        if isinstance(self.model, Ours):
            principal(self.model.model, [drawn(clips, race, self.source) for _ in range(STARTS)])
        self.optimizer = AdamW(list(self.model.named_parameters()), lr=self.rate, weight_decay=0.0)
        self.used += time.process_time() - begun

    def step(self, clips: list[Tensor], race: Race) -> None:
        """One update."""
        begun = time.process_time()
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * min(1.0, (self.steps + 1) / WARM.get(self.name, 10))
        video = drawn(clips, race, self.source)
        made, divergence = self.model(video, self.source)
        self.optimizer.zero_grad()
        LOSS(made, video, divergence).loss.mean().backward()
        self.optimizer.step()
        self.steps += 1
        self.used += time.process_time() - begun


def runner(race: Race, name: str, *, rate: float, seed: int) -> Runner:
    """A contestant before its first step."""
    torch.manual_seed(seed)
    return Runner(name=name, model=race.contestants[name](), rate=rate, source=generator(seed, "race"))


def run(race: Race, runners: list[Runner], clips: list[Tensor], tested: list[Tensor], *, marks: list[float]) -> None:
    """Let all learn until the last mark, in CPU seconds, and test each as it passes one."""
    for each in runners:
        each.start(clips, race)
    while behind := [each for each in runners if len(each.curve) < len(marks)]:
        each = min(behind, key=lambda one: one.used)
        if each.used < marks[len(each.curve)]:
            each.step(clips, race)
            continue
        each.curve.append((marks[len(each.curve)], psnr(each.model, tested)))
        log.say(f"{each.name} at {each.rate:g}, {each.steps} steps, {each.used:.0f} s: {each.curve[-1][1]:.2f} dB")


def tuned(race: Race, clips: list[Tensor], *, minutes: float) -> dict[str, float]:
    """The rate by which each learns most in some minutes."""
    tested = [centre(clip, count=race.shape[0]) for clip in clips]
    runners = [runner(race, name, rate=rate, seed=99) for name in race.contestants for rate in RATES]
    run(race, runners, clips, tested, marks=[60 * minutes])
    best = {
        name: max((r for r in runners if r.name == name), key=lambda r: r.curve[-1][1]) for name in race.contestants
    }
    return {name: one.rate for name, one in best.items()}


def learn(
    folder: Path, races: list[str], *, minutes: float, seeds: int, tune: float, rates: Mapping[str, float]
) -> dict[str, Any]:
    """PSNR over CPU seconds of each contestant of each race and seed."""
    clips, held = clips_of(folder)
    marks = [mark for mark in (30.0, 60.0, 90.0) if mark < 60 * minutes] + [
        60.0 * n for n in range(2, int(minutes) + 1)
    ]
    figures: dict[str, Any] = {}
    for title in races:
        race = RACES[title]
        tested = [centre(clip, count=race.shape[0]) for clip in held]
        chosen = dict(rates) if set(race.contestants) <= set(rates) else tuned(race, clips, minutes=tune)
        curves: dict[str, list[Any]] = {name: [] for name in race.contestants}
        for seed in range(seeds):
            runners = [runner(race, name, rate=chosen[name], seed=seed) for name in race.contestants]
            run(race, runners, clips, tested, marks=marks)
            for each in runners:
                curves[each.name].append({"dB": [round(value, 2) for _, value in each.curve], "steps": each.steps})
        sizes = {name: sum(p.numel() for p in make().parameters()) for name, make in race.contestants.items()}
        figures[title] = {"CPU seconds": marks, "rates": chosen, "parameters": sizes, "curves": curves}
    return figures


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of a call."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


@torch.no_grad()
def speed(*, rounds: int) -> dict[str, Any]:
    """Frames per CPU second of encoding and decoding, medians of rounds in turns, and each one's peak memory."""
    video = torch.rand(1, 3, 17, 128, 128) * 2 - 1
    models: dict[str, Any] = {name: make().eval() for name, make in SPEED.items()}
    latents = {name: model.encode(video) for name, model in models.items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            latent = latents[name]
            taken[name].append(
                (seconds(lambda m=model: m.encode(video)), seconds(lambda m=model, z=latent: m.decode(z)))  # type: ignore[misc]
            )
    figures = {}
    for name, times in taken.items():
        encode, decode = (17 / median(part) for part in zip(*times, strict=True))
        peaks = subprocess.run(
            [sys.executable, __file__, "peak", name], capture_output=True, text=True, check=True
        ).stdout.split()
        figures[name] = {
            "encode, frames per CPU second": round(encode, 1),
            "decode, frames per CPU second": round(decode, 1),
            "encode, peak MB": float(peaks[0]),
            "decode, peak MB": float(peaks[1]),
            "parameters": sum(p.numel() for p in models[name].parameters()),
        }
        log.say(f"{name}: {figures[name]}")
    return figures


@torch.no_grad()
def peak(name: str) -> None:
    """Say how many MB encoding, and then decoding, took at most beyond what was there before (Linux)."""
    model: Any = SPEED[name]().eval()
    video = torch.rand(1, 3, 17, 128, 128) * 2 - 1
    model.decode(model.encode(video[:, :, :1]))
    latent, told = video, []
    for work in (model.encode, model.decode):
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak counts from now on
        latent = work(latent)
        told.append(f"{resident('VmHWM') - before:.1f}")
    log.say(" ".join(told))


def resident(name: str) -> float:
    """A line of /proc/self/status, in MB."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1000
    raise KeyError(name)


def cost() -> dict[str, Any]:
    """GFLOP a megapixel of encoding and decoding, and parameters: the published configs, and all of ours."""
    mine = {f"ours {path.stem}": ours(path.stem) for path in sorted(Path("conf/models/vae").glob("*.yaml"))}
    figures = {}
    for name, make in (mine | PUBLISHED).items():
        with torch.device("meta"), torch.no_grad():
            model: Any = make().eval()
            with FlopCounterMode(display=False) as encoding:
                latent = model.encode(torch.empty(1, 3, 17, 256, 256))
            with FlopCounterMode(display=False) as decoding:
                model.decode(latent)
        counted = [
            round(counter.get_total_flops() / 1e9 / (17 * 256 * 256 / 1e6), 1) for counter in (encoding, decoding)
        ]
        figures[name] = {
            "GFLOP/Mpix of [encode, decode]": counted,
            "parameters": sum(p.numel() for p in model.parameters()),
        }
        log.say(f"{name}: {figures[name]}")
    return figures


def main(arguments: list[str]) -> None:
    """Tell the peak memory of one model, or measure what is asked."""
    torch.set_num_threads(1)
    if arguments[0] == "peak":
        peak(arguments[1])
        return
    settings = dict(item.split("=", 1) for item in arguments[1:])
    minutes, rates = float(settings.get("minutes", "10")), settings.get("rates", "")
    parts = settings.get("parts", "learn,speed,cost").split(",")
    begun, sections = time.monotonic(), dict[str, dict[str, Any]]()
    if "cost" in parts:
        sections["cost"] = cost()
    if "speed" in parts:
        sections["speed"] = speed(rounds=int(settings.get("rounds", "5")))
    if "learn" in parts:
        sections["learn"] = learn(
            Path(arguments[0]),
            settings.get("races", ",".join(RACES)).split(","),
            minutes=minutes,
            seeds=int(settings.get("seeds", "3")),
            tune=float(settings.get("tune", "1")),
            rates={name: float(rate) for name, _, rate in (item.partition(":") for item in rates.split(",") if item)},
        )
    merge("vae", sections, minutes=round((time.monotonic() - begun) / 60, 1))


if __name__ == "__main__":
    main(sys.argv[1:])
