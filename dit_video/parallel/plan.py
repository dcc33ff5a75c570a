"""The parallel plan: how many copies, shards and sequence parts the processes of a run make up."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dit_video.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`replicate` x `shard` x `sequence` processes; `replicate` left at null takes what the other two leave.

    Built today: replicas alone (DDP). Sharding (FSDP2) and sequence parallelism are refused until they are there.
    """

    replicate: int | None = None
    shard: int = 1
    sequence: int = 1

    def fill(self, world_size: int) -> Plan:
        """The same plan with every number known; ConfigError if it does not make up `world_size` processes."""
        for name in ("shard", "sequence"):
            size = getattr(self, name)
            if size < 1:
                raise ConfigError(f"parallel.{name} must be at least 1, got {size}")
            if size > 1:
                raise ConfigError(f"parallel.{name}={size} is not built yet; set parallel.{name}=1")
        inner = self.shard * self.sequence
        filled = self if self.replicate is not None else replace(self, replicate=max(world_size // inner, 1))
        needed = (filled.replicate or 1) * inner
        if needed != world_size:
            raise ConfigError(
                f"the parallel plan needs {needed} processes and the trainer starts {world_size}; "
                "change parallel.replicate or trainer.devices"
            )
        return filled
