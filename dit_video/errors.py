"""One root for everything a user can get wrong; each message says what, what was expected, and which key mends it."""


class UserError(ValueError):
    """A mistake that one line explains. The commands print it and exit with code 2."""


class ConfigError(UserError):
    """A setting that does not exist, has the wrong type, or contradicts another."""


class ShapeError(UserError):
    """A size that the model, the bucket table or the compression cannot represent."""


class DataError(UserError):
    """A dataset, shard or file that is missing, empty or damaged."""


class StorageError(UserError):
    """Storage that does not answer; nothing is damaged, and the same command goes on when it does."""


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged, or of another model."""


class RequestError(UserError):
    """A sampling request that cannot be served."""


class ClusterError(UserError):
    """A cluster that refuses a job, does not answer, or is not there."""


class NodeError(RuntimeError):
    """A machine that is not fit to train on: no mistake of the user; the commands exit with 76."""
