"""What the command line runs: its arguments, its tables and its errors of one line."""
