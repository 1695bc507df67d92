"""Files and folders on the host's disk: written whole or not at all, and private where they hold code."""
