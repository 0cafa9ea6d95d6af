"""Storages: where instances live. `base` is the port, the other modules are its adapters."""
