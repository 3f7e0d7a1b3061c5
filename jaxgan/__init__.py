"""A pure-JAX, functional research codebase for generative adversarial networks."""

__version__ = "0.9.0"
