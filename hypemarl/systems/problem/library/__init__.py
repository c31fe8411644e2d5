"""Problems of the package, each in one file as a user would write it."""
