"""One file per view of the page; `order.py` lists them."""
