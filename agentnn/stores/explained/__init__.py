"""Looking on while a store answers, for ``--explain``: what it was asked, what it read, and how long each step took.

A store hands the source that it reads from to a :class:`~agentnn.stores.explained.between.Between`, and reads from what
it gets back for as long as somebody looks on. Nothing here is imported, and nothing asked, otherwise.
"""
