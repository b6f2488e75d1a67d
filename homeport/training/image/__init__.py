"""A small text-to-image flow model, trained on pictures that are composed of the art of `scene`, 64 by 64 pixels.

art -> scenes (a caption and its picture) -> words (token ids) -> network, trained by flow -> export, for `diffusion`
"""
