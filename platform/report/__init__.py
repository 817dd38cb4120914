"""The report: one HTML file that says what the tables hold, and where every number came from."""

from unlatent.platform.report.page import chosen_run, newest_sweep, pictures_of, write_report

__all__ = ["chosen_run", "newest_sweep", "pictures_of", "write_report"]
