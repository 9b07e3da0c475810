"""What processes of `forked` find done: what takes long to import, the script of charts, and templates.

This process itself must not start vl-convert: a fork of one that has waits for its threads for ever.
"""

import gc
import os
from importlib import import_module
from tempfile import TemporaryDirectory

gc.disable()  # what is imported stays
for module in (
    "altair",
    "counterground.api",
    "counterground.cli",
    "counterground.construction.annotate.masks",
    "forked",
    "matplotlib.figure",
    "open_clip",
    "pytest",
    "scipy.optimize",
):
    import_module(module)
import_module("PIL.Image").init()

shell = import_module("counterground.reporting._shell")  # what a page needs of it is no more public than this
for template in shell._environment().list_templates():
    shell._environment().get_template(template)

with TemporaryDirectory() as folder:
    os.environ["COUNTERGROUND_CACHE"] = folder
    child = os.fork()
    if not child:
        shell.vega_script()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    shell.vega_script()
gc.enable()
