"""Pipelines: definitions (YAML), the steps they name, and the runner that orders, skips, retries and resumes them."""
