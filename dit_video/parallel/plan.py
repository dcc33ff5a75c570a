"""The parallel plan: how many copies, shards and sequence parts the processes of a run make up, and what saves memory.

`replicate` x `shard` x `sequence` processes, the last innermost. Parameters, gradients, optimizer and averages lie
sharded over shard x sequence (FSDP2) and are copied `replicate` times (HSDP); the tokens of a pack are parted over
`sequence` (Ulysses). Processes of one sequence group read the same packs, so the data is dealt to replicate x shard.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dit_video.errors import ConfigError

RECOMPUTE = ("none", "selective", "full")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`replicate` left at null takes what the other two leave.

    Args:
        replicate: copies of the sharded state.
        shard: processes that share one copy.
        sequence: processes that share the tokens of a pack; divides the heads and the length of a pack.
        recompute: none keeps all activations for the backward pass, selective keeps products of matrices and
            attention and computes the rest again, full keeps the inputs of blocks alone.
        compile: compile each block by torch.compile.
    """

    replicate: int | None = None
    shard: int = 1
    sequence: int = 1
    recompute: str = "none"
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("replicate", "shard", "sequence"):
            size = getattr(self, name)
            if size is not None and size < 1:
                raise ConfigError(f"parallel.{name} must be at least 1, got {size}")
        if self.recompute not in RECOMPUTE:
            raise ConfigError(f"parallel.recompute={self.recompute} is unknown; set one of {', '.join(RECOMPUTE)}")
        if self.compile and self.recompute == "selective":
            raise ConfigError(
                "parallel.recompute=selective chooses among operations, and parallel.compile=true changes them; "
                "set parallel.recompute=none or full"
            )

    @property
    def copies(self) -> int:
        """`replicate`, known."""
        return self.replicate or 1

    @property
    def parameter_shards(self) -> int:
        """Processes that share one copy of the parameters."""
        return self.shard * self.sequence

    @property
    def data_ranks(self) -> int:
        """Processes, or groups of them, that read packs of their own."""
        return self.copies * self.shard

    def data_rank(self, rank: int) -> int:
        """Whose packs process `rank` reads."""
        return rank // self.sequence

    def fill(self, world_size: int) -> Plan:
        """The same plan with every number known; ConfigError if it does not make up `world_size` processes."""
        inner = self.parameter_shards
        filled = self if self.replicate is not None else replace(self, replicate=max(world_size // inner, 1))
        if filled.copies * inner != world_size:
            raise ConfigError(
                f"the parallel plan needs {filled.copies} x {self.shard} x {self.sequence} = {filled.copies * inner} "
                f"processes and the trainer starts {world_size}; change parallel.replicate, parallel.shard, "
                "parallel.sequence or trainer.devices"
            )
        return filled

    def check(self, *, heads: Iterable[int], length: int | None) -> None:
        """ConfigError where attention with `heads` heads over `length` tokens cannot be parted over `sequence`.

        `length` is None for a task whose batches are no packs of tokens.
        """
        if self.sequence == 1:
            return
        if length is None:
            raise ConfigError(
                f"parallel.sequence={self.sequence} parts packs of tokens, which this task has not; set "
                "parallel.sequence=1 and use parallel.shard"
            )
        for count in heads:
            if count % self.sequence:
                raise ConfigError(
                    f"parallel.sequence={self.sequence} does not divide the {count} heads of attention; set one that "
                    "does, or change models.*.heads"
                )
        if length % self.sequence:
            raise ConfigError(
                f"parallel.sequence={self.sequence} does not divide the {length} tokens of a micro-batch; change "
                "datamodules.length or parallel.sequence"
            )
