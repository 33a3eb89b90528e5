"""Questions about a table, in the language of pandas query strings, answered without running any text.

``DataFrame.query`` is Python in disguise: it resolves any attribute of anything it can reach. Here a query string is
read into a tree of our own (:mod:`parsing`), in which only a fixed set of operators and :mod:`methods` can occur, and
the tree is turned into a mask with the operators of Series (:mod:`evaluation`). Whatever is accepted gives what
``frame.query(text, engine="python")`` gives; everything else is a ``FilterError`` that points at the character::

    query       = conjunction { ( "or" | "|" ) conjunction }
    conjunction = negation { ( "and" | "&" ) negation }         & and | bind as and, or: this is pandas' own rule
    negation    = { "not" } comparison
    comparison  = sum { ( "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in" ) sum }        chained as in Python
    sum         = product { ( "+" | "-" ) product }
    product     = sign { ( "*" | "/" | "//" | "%" ) sign }
    sign        = { "-" | "+" | "~" } power
    power       = primary [ "**" number ]
    primary     = atom { "." method }                           the methods are listed in methods.METHODS
    atom        = name | `any name` | number | 'text' | True | False | None | inf | list | "(" query ")"
    list        = "[" literals "]" | "(" literals ")"

A name is a column's, or ``index``, or the name of the index. Between backticks stands any name at all; a backtick in
it is written twice. ``== [..]`` means ``in``, ``!= [..]`` means ``not in``, as in pandas.

Refused, though pandas takes it: ``@name``, attributes and methods that are not listed, subscripts, functions such as
``sin(a)``, columns and sums within lists, a text looked for in a text, and/or/not of anything but truth values,
arithmetic on texts, whole numbers of more than 64 bits, times against numbers, and times against texts by ``==`` or
``in``: what these give depends on the version of pandas (in 3.1 nothing is ever equal). Taken, though pandas fails: any
column name at all, compared exactly and never normalised; a time without a zone, which against times that have one is
in their zone; arithmetic on truth values that know missing ones.
"""

from agentnn.query.frames.selecting import select

__all__ = ["select"]
