"""Everything, small, from nothing: the commands a user would type, run one after the other, and a report of them."""
