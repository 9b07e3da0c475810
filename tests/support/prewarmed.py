"""What processes of `forked` find done: what takes long to import, the script of charts, and templates.

This process itself must not start vl-convert: a fork of one that has waits for its threads for ever.
"""

import os
from tempfile import TemporaryDirectory

import altair  # noqa: F401
import forked  # noqa: F401
import matplotlib.figure  # noqa: F401
import open_clip  # noqa: F401
import PIL.Image
import pytest  # noqa: F401
import scipy.optimize  # noqa: F401

import counterground.api
import counterground.cli
import counterground.construction.annotate.masks  # noqa: F401
from counterground.report._shell import (  # what a page needs of them is no more public than this
    _environment,
    vega_script,
)

PIL.Image.init()
for template in _environment().list_templates():
    _environment().get_template(template)

with TemporaryDirectory() as folder:
    os.environ["COUNTERGROUND_CACHE"] = folder
    child = os.fork()
    if not child:
        vega_script()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    vega_script()
