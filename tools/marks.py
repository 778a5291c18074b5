"""Texts that a tool writes into a Markdown file, between comments that mark their place."""


def write_between_marks(path, **tables):
    """Replace what stands in the file ``path`` between the comments `NAME` and `/NAME` by each of
    ``tables``.
    """
    text = path.read_text()
    for name, table in tables.items():
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition(f"\n<!-- /{name} -->")
        text = f"{before}<!-- {name} -->\n{table}\n<!-- /{name} -->{after}"
    path.write_text(text)
