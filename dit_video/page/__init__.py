"""One HTML file that needs nothing beside it: the frame of a page, its plots, its pictures and videos."""
