"""Sweep definitions: data only, a YAML file each."""
