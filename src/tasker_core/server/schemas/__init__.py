"""The bodies of requests and responses, a module for each kind of thing."""
