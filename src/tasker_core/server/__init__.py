"""The HTTP API: parse a request, call one use case, render what it says. The application is in ``app``."""
