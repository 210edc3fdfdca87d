"""The tasks as a service: one table of typed functions, offered over HTTP, as tools of an agent, and on a page."""
