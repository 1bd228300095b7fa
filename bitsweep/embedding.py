"""Pictures within the text that Snakemake's report opens with, as part of the page."""

import base64
import mimetypes
from pathlib import Path

from docutils.nodes import Node
from docutils.parsers.rst import directives
from docutils.parsers.rst.directives.images import Image
from snakemake import report  # noqa: F401  (registers its own directives, before ours)


class EmbeddedImage(Image):
    """The directive `image` with the file's content in place of its path.

    Snakemake's own directive of this name leaves the path as it is (`snakemake/report/__init__.py`,
    9.27: its mixin comes after `Image`, so that it is never run).
    """

    def run(self) -> list[Node]:
        path = Path(self.arguments[0])
        content = base64.b64encode(path.read_bytes()).decode()
        self.arguments[0] = f"data:{mimetypes.guess_type(path)[0]};base64,{content}"
        return super().run()


def register() -> None:
    """Have reports embed their images."""
    directives.register_directive("embeddedimage", EmbeddedImage)
