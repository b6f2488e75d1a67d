"""The web pages at `/dashboard`: a client of the public API that is served beside it, and owns no rule.

    browser --- GET a page -----------> application.py -> pages/*.py --- client.py ---+
       |                                                                              +--> the API's ASGI application
       +------- fetch /dashboard/v1/... (cookie) ---------------> bridge.py ----------+      (with the session's key)
       +------- /dashboard/static/DIGEST/... -> static.py

What a page shows when it comes it has asked of the public API, in this process; what somebody does on it, its modules
(static/js) ask of the public API, through the bridge. So a page can do nothing that a client cannot, and a key's
scopes, limits and records hold here as they do everywhere.
"""
