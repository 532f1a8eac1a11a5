"""Default folder of CostCurve's data, used if COSTCURVE_HOME is not set."""

from pathlib import Path

import platformdirs


def default_home() -> Path:
    """Return the platform's folder for this user's data, such as ~/.local/share/costcurve."""
    return platformdirs.user_data_path("costcurve")
