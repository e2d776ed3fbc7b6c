"""The executable contract of run.py's outputs. It never imports a runner: they meet through files and a command."""
