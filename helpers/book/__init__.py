"""Makes the book: every notebook run by papermill, and the pages that they become.

`lessons` reads the notebooks in the repository, `runner` runs one, `site` makes the pages, and
`tutorial` is the command.
"""
