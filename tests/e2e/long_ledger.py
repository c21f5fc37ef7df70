#!/usr/bin/python3
"""ledger.py with 100 000 blobs and 60 events."""
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
import ledger

ledger.main(100_000, 60)
