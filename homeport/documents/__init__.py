"""Documents become text with its places, and text becomes chunks. Nothing here knows of stores or requests."""
