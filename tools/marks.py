"""Texts that a tool writes into a Markdown file, between comments that mark their place."""


def write_between_marks(path, **tables):
    """Replace what stands in the file ``path`` between the comments `NAME` and `/NAME` by each of
    ``tables``; LookupError if a comment is missing.
    """
    text = path.read_text()
    for name, table in tables.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"\n<!-- /{name} -->")
        if not start or not end:
            raise LookupError(f"{path} has no place for {name}")
        text = f"{before}<!-- {name} -->\n{table}\n<!-- /{name} -->{after}"
    path.write_text(text)
