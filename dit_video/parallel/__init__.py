"""How a run is spread over processes. Generic over `nn.Module`: knows no model."""
