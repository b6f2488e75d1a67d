"""Pictures out of noise, by a user's weights in the layout that diffusers has for ONNX: what the engine is made of.

folder.py       the files of a model, and what their settings say; which pipelines there are
clip.py         a prompt's tokens
sessions.py     the networks, on ONNX Runtime
texts.py        a prompt as the networks that draw are told it
noise.py        how much noise there is at which time of the model's own training
schedulers.py   the way from noise to a picture, step by step
painter.py      one picture: that way gone, from nothing, from another picture, or under a mask
canvas.py       pixels as the networks have them, and back
"""
