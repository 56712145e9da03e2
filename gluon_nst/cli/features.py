"""``gluon-nst features``: what the network sees."""

from __future__ import annotations

import click


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--output", required=True, metavar="GRID.png", help="Picture to write.")
@click.option("--network", default="vgg19", show_default=True, metavar="vgg19|vgg16")
@click.option(
    "--layers", metavar="NAME,...", help="Layers to show, such as relu1_1,relu4_2; every ReLU if not given."
)
@click.option(
    "--maps", default=8, show_default=True, type=click.IntRange(1, 64), help="Feature maps per layer."
)
@click.option("--weights", default="bundled", show_default=True, metavar="bundled|zoo|FILE")
def features(
    images: tuple[str, ...], output: str, network: str, layers: str | None, maps: int, weights: str
) -> None:
    """Draw the first feature maps of every layer for one image, or for a content and a style image side by side.

    \b
    gluon-nst features photo.jpg -o grid.png
    gluon-nst features photo.jpg painting.jpg --layers relu1_1,relu3_1 -o grid.png
    """
    from gluon_nst.images.write import check_output_path, write_image
    from gluon_nst.inputs import take_input

    check_output_path(output)
    inputs = [take_input(image) for image in images]

    from gluon_nst.feature_grid import feature_grid
    from gluon_nst.parameters import load_parameters

    grid = feature_grid(
        [each.picture.pixels for each in inputs], [each.name for each in inputs], load_parameters(weights, network),
        layers=None if layers is None else layers.split(","), maps=maps,
    )  # fmt: skip
    write_image(output, grid)
