"""What lies in a dataset, on one HTML page: `python -m datamodules.report dataset=DIR`."""
