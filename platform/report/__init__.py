"""The report: one HTML file that says what the tables hold, and where every number came from."""

from unlatent.platform.report.page import write_report

__all__ = ["write_report"]
