"""What encode → decode alone of an autoencoder loses of one's own images, before anything is generated."""

from unlatent.platform.vae_tax.image_set import find_images, left_out
from unlatent.platform.vae_tax.measuring import measure
from unlatent.platform.vae_tax.page import Subject, write_report

__all__ = ["Subject", "find_images", "left_out", "measure", "write_report"]
