"""`strongroom models`: what can be installed, what is, and carrying models in by hand."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="List, fetch, import and verify models.", no_args_is_help=True)

ModelId = Annotated[str, typer.Argument(help="Model id, from `strongroom models list`.", show_default=False)]
