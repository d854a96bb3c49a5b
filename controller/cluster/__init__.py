"""Boxes, logical servers, IP addresses and placement: the provider's side of the model."""
