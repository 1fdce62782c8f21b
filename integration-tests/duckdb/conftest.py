"""Lets the tests import what starts a Larder for the tests of the example."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "credit-scoring" / "tests"))
