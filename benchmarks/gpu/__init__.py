"""The exported network on a GPU. Works from a copy of benchmarks/ on a machine without this project's packages."""
