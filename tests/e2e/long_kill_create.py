#!/usr/bin/python3
"""ctrl_kill_create, with 250 kills."""
import os
import runpy

os.environ["WW_KILLS"] = "250"
runpy.run_path(os.path.join(os.path.dirname(__file__), "ctrl_kill_create.py"), run_name="__main__")
