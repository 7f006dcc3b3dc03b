"""A reader that trains on an export: batches of pictures and texts in an order that repeats.

loader = PairLoader("out", Pairs(Drawn({"txt": 1, "long": 3}), image=transform))
"""

from pipeline.training.loader import PairLoader, here
from pipeline.training.order import Order, Place
from pipeline.training.plans import Drawn, Languages, Plan, Slots, SubCaptions
from pipeline.training.samples import Pairs, Regions

__all__ = [
    "Drawn",
    "Languages",
    "Order",
    "PairLoader",
    "Pairs",
    "Place",
    "Plan",
    "Regions",
    "Slots",
    "SubCaptions",
    "here",
]
