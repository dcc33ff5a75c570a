"""The smallest task and datamodule that keep the contract of train.py; the tests train with them in seconds."""
