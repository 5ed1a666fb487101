"""Problems: the type that every later room takes, and the sources that give it."""
