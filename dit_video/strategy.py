"""Lightning over the processes of a parallel plan.

Processes, devices and the loop are Lightning's; how a model lies over them is `dit_video.parallel`'s. Tasks hand their
models to `spread` in `configure_model`, the only place where Lightning meets sharding.
"""

from __future__ import annotations

import resource
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lightning.pytorch.strategies import ModelParallelStrategy, ParallelStrategy

from dit_video.parallel import agree
from dit_video.parallel.mesh import build_mesh, parameter_mesh
from dit_video.parallel.shard import shard

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from torch import nn
    from torch.distributed.device_mesh import DeviceMesh

    from dit_video.parallel.plan import Plan


class MeshStrategy(ModelParallelStrategy):
    """Replicas, shards and sequence parts (HSDP, FSDP2, Ulysses) of a plan.

    `timeout` is how many seconds a collective may take before it counts as broken.
    """

    def __init__(self, plan: Plan, *, timeout: float = 1800.0) -> None:
        super().__init__(timeout=timedelta(seconds=timeout))
        self.plan = plan
        self.mesh: DeviceMesh | None = None
        self.parameters: DeviceMesh | None = None

    def setup_environment(self) -> None:
        """Join the group of processes and lay the plan over it, once: train.py does so before Lightning."""
        if self.mesh is not None:
            return
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # gloo opens a socket to every process, for each group
        ParallelStrategy.setup_environment(self)
        kind = self.root_device.type
        self._process_group_backend = "gloo" if kind == "cpu" else f"cpu:gloo,{kind}:nccl"
        self._setup_distributed()
        self.lay()

    def lay(self) -> None:
        """The meshes of the plan over the processes that have joined."""
        self.plan, kind = self.plan.fill(self.world_size), self.root_device.type
        self.mesh, self.parameters = build_mesh(self.plan, kind), parameter_mesh(self.plan, kind)
        self._device_mesh = self.mesh
        agree.control()

    def spread(self, model: nn.Module, *, precision: str | int) -> None:
        """Lay a model over the processes, in place, with or without values yet."""
        assert self.mesh is not None
        assert self.parameters is not None
        shard(model, self.plan, mesh=self.mesh, parameters=self.parameters, precision=precision)

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Which part of the data is read here."""
        return {"num_replicas": self.plan.data_ranks, "rank": self.plan.data_rank(self.global_rank)}

    def setup(self, trainer: Trainer) -> None:
        """Optimizers over models that `configure_model` has made and spread."""
        assert self.accelerator is not None
        self.accelerator.setup(trainer)
        self.setup_optimizers(trainer)
        self.setup_precision_plugin()
        self.barrier()

    def training_step(self, batch: Any, *rest: Any) -> Any:
        """One micro-batch; copies exchange their gradients after the last of a step, shards after each."""
        from torch.distributed.fsdp import FSDPModule

        last = batch.place.micro == batch.place.micros - 1
        for model in self.lightning_module.children():  # type: ignore[union-attr]
            if isinstance(model, FSDPModule):
                model.set_requires_all_reduce(last)
        return super().training_step(batch, *rest)
