"""Linters and rules of deploy/: `python -m deploy.lint`, in the environment of requirements/deploy.txt."""
