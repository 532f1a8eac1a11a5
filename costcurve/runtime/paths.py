"""Where a CostCurve keeps what it knows, unless COSTCURVE_HOME says otherwise."""

from pathlib import Path

import platformdirs


def default_home() -> Path:
    """The platform's folder for this user's data, such as ~/.local/share/costcurve."""
    return platformdirs.user_data_path("costcurve")
