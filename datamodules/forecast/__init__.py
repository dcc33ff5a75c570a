"""What a training run will do, before it does it: buckets, packs, steps, balance, FLOPs, memory; `run.plan=true`.

- `counts` tells what a sample costs and how a micro-batch is shaped, for latents and for clips.
- `epoch` walks the plan through one epoch, by the index alone: no pixel is read and nothing is trained.
- `forecast` puts both together with a rehearsal of a step; `page` is it as text; `show` prints it.
"""

from datamodules.forecast.forecast import Forecast, fits, forecast
from datamodules.forecast.page import document, page
from datamodules.forecast.show import show

__all__ = ["Forecast", "document", "fits", "forecast", "page", "show"]
