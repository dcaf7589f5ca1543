"""What benchmarks beside peers share. The peers need an environment of their own.

python3 -m venv peers && pip=peers/bin/pip
$pip install torch==2.13.0 pytorch-metric-learning pillow lightning-utilities ftfy regex safetensors huggingface-hub
$pip install --no-deps torchvision==0.28.0 lightly lightning-fabric open_clip_torch timm
PYTHONPATH=src:FOLDER_OF_THE_HELPER_BELOW peers/bin/python benchmarks/agreement.py
"""


def import_torchvision() -> None:
    """Torchvision itself or, where its compiled operators are missing, with a helper on the path that declares them."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        import torchvision_cpu

        torchvision_cpu.declare()
