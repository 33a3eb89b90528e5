"""Figures of what a run recorded, drawn from plain data.

Made with matplotlib's objects alone: ``pyplot`` keeps every figure until it is told to close it, and picks a window
system for the whole process. matplotlib takes half a second to import, so it is imported when a figure is made.
"""
