"""Edits whose right answer is known, by models on pixels and on latents: measured alike, compared, reported.

`study.run_study` edits and measures, `comparing` and `verdict` say what follows, `page.write_report` shows it.
"""
