"""Thin LightningModules: a model, its loss, its optimizer."""
