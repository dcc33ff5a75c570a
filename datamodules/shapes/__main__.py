"""Write the corpus: `python -m datamodules.shapes out=DIR [videos=4000 images=2500 described=0.25 seed=0]`."""

from __future__ import annotations

import sys

from omegaconf import OmegaConf

from datamodules.shapes.corpus import write_corpus
from dit_video import config, log, signature
from dit_video.errors import ConfigError


def main(arguments: list[str]) -> None:
    """Check the arguments against `write_corpus`, then write."""
    with config.one_line():
        settings = OmegaConf.to_container(OmegaConf.from_dotlist(arguments))
        assert isinstance(settings, dict)
        takes = signature.read("datamodules.shapes.corpus.write_corpus")
        assert takes is not None
        for key in settings:
            if key not in takes.arguments:
                raise ConfigError(f"there is no {key}; {config.nearest(str(key), takes.arguments)}")
        if "out" not in settings:
            raise ConfigError("out is not set; add out=DIR")
        log.setup()
        write_corpus(**{str(key): value for key, value in settings.items()})


if __name__ == "__main__":
    main(sys.argv[1:])
