"""`homeport fine-tune`: what fine-tuning jobs are doing, in the terminal. It speaks to a server as any client does, so
the server may be another machine's Homeport, or OpenAI.

    server.py     the few requests that are asked
    progress.py   what is known of one job
    frame.py      that, drawn; curve.py: its curves
    command.py    list, watch
"""
