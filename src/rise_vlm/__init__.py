"""rise-vlm: teach a vision-language model to annotate images and to say why, from the annotations alone."""

__version__ = "0.1.0"
