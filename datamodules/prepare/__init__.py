"""Stages that make a dataset on disk: curate, captions, recaption, encode. Each is a pure function of one shard."""
