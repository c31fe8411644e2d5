"""Records -> pictures, films and tables. Training never imports this room."""

from hypemarl.visualisation.curves import draw_curves
from hypemarl.visualisation.fields import RenderError, render
from hypemarl.visualisation.forces import draw_forces
from hypemarl.visualisation.policy_map import draw_policy_map
from hypemarl.visualisation.table import format_table

__all__ = ["RenderError", "draw_curves", "draw_forces", "draw_policy_map", "format_table", "render"]
