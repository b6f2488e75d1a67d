"""The embedded drawer: a prompt is read, what it names is laid out, and a drawing is composed of vector art.

prompt -> description (reading) -> placed things (layout) -> SVG (composing) -> pixels (rendering)
"""
