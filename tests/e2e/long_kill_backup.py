#!/usr/bin/python3
"""ctrl_kill_backup, with 200 kills."""
import os
import runpy

os.environ["WW_KILLS"] = "200"
runpy.run_path(os.path.join(os.path.dirname(__file__), "ctrl_kill_backup.py"), run_name="__main__")
