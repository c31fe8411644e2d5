"""Code that trials run inside the process that they kill."""
