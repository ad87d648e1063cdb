"""The `segue` package and its command.

Requirements here are what Segue needs to run; the versions that are known to
work together stand in constraints-py310.txt (TFX 1.16) and constraints-py313.txt
(TFX 1.21), one of which `make setup` installs under.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
README = HERE / "README.md"

TOP_LEVEL = ["music", "components", "pipeline", "serving", "client", "kubeflow"]

# Files that code opens at run time, wherever in a package they lie.
DATA = [
    "**/*.yaml",
    "**/*.yml",
    "**/*.json",
    "**/*.pbtxt",
    "**/*.config",
    "**/*.html",
    "**/*.js",
    "**/*.css",
    "**/*.svg",
    "**/*.mid",
    "**/Dockerfile*",
    "**/*.args",
    # Software of others goes nowhere without its licence.
    "**/vendor/*",
]

setup(
    name="segue",
    version="0.1.0",
    description="Learns a composer's MIDI catalogue and plays on: a TFX pipeline around an LSTM",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="The Segue authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.14",
    # Saying that packages lie in this folder makes an editable install one .pth
    # line instead of a list of today's packages, so a package added later is
    # importable without another set-up.
    package_dir={"": "."},
    packages=find_packages(
        include=[pattern for name in TOP_LEVEL for pattern in (name, f"{name}.*")]
    ),
    package_data={"": DATA},
    install_requires=[
        # Python 3.10 gets the last TFX that an older glibc loads, the others today's.
        "tfx>=1.16,<1.17; python_version < '3.11'",
        "tfx>=1.21; python_version >= '3.11'",
        "tensorflow>=2.16",
        "tensorflow-serving-api>=2.16",
        "keras-tuner>=1.4.8",
        # What tf.summary writes by; TensorFlow 2.21 no longer brings it.
        "tensorboard>=2.16",
        "apache-beam>=2.59",
        "music21>=9.9",
        "matplotlib>=3.8",
        # Scores: engraved by one, printed by the other.
        "verovio>=6",
        "typst>=0.15",
        "pillow>=10.1",
        "grpcio>=1.48",
        "grpcio-health-checking>=1.48",
        "grpcio-reflection>=1.48",
        "cryptography>=42",
        "click>=8.1",
        "rich>=13",
        "PyYAML>=6",
        "jinja2>=3.1",
        "markupsafe>=2.1",
        "numpy>=1.26",
        "scipy>=1.11",
        "pyarrow>=10",
        "orjson>=3.10",
        "google-crc32c>=1.5",
        "prometheus_client>=0.20",
        "waitress>=3.0.1",
    ],
    extras_require={
        "kubeflow": ["kfp>=2.5"],
        "dev": [
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "requests>=2.31",
            "ruff>=0.9",
            "mypy>=1.11",
            # A second reader of MIDI, which ours must agree with.
            "mido>=1.3",
            # Another hand's measures of songs, which ours must agree with.
            "muspy>=0.5",
            # The notebook, run without its page.
            "nbclient>=0.10",
            "nbformat>=5.10",
            "ipykernel>=6.29",
            # The deployment files against their schemas.
            "kubernetes-validate>=1.29",
            "check-jsonschema>=0.28",
            "types-PyYAML",
            "types-protobuf",
        ],
    },
    entry_points={"console_scripts": ["segue = pipeline.cli:main"]},
    classifiers=[
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: MIDI",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
