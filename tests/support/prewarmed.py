"""What processes of `forked` find done: what takes long to import, and templates."""

import gc
from importlib import import_module

gc.disable()  # what is imported stays
for module in (
    "counterground.api",
    "counterground.cli",
    "counterground.construction.annotate",
    "forked",
    "matplotlib.figure",
    "open_clip",
    "pytest",
    "scipy.optimize",
):
    import_module(module)
import_module("PIL.Image").init()

shell = import_module("counterground.reporting.shell")  # what a page needs of it is no more public than this
for template in shell._environment().list_templates():
    shell._environment().get_template(template)

gc.enable()
