"""A Chromium from PyPI, for machines that reach nothing else: QtWebEngine, without a window on the screen.

After ``pip install 'pyside6-addons[webengine]'``, ``python tests/qt_chromium.py`` prints the address to give the tests
as ``RISE_BROWSER`` and runs until it is killed.
"""

from __future__ import annotations

import os
import sys

from PySide6.QtWebEngineCore import QWebEnginePage
from PySide6.QtWebEngineWidgets import QWebEngineView
from PySide6.QtWidgets import QApplication

PORT = "9333"
SETTINGS = {
    "QT_QPA_PLATFORM": "offscreen",
    "QTWEBENGINE_REMOTE_DEBUGGING": PORT,
    "QTWEBENGINE_DISABLE_SANDBOX": "1",
    "QTWEBENGINE_CHROMIUM_FLAGS": "--disable-gpu",
}


class Window(QWebEngineView):
    """A page; one that it opens is a window of its own, which goes when it is closed."""

    def __init__(self, kept: set[Window]) -> None:
        super().__init__()
        self.kept = kept
        kept.add(self)
        self.page().windowCloseRequested.connect(self.gone)
        self.resize(1280, 800)
        self.show()

    def createWindow(self, _: QWebEnginePage.WebWindowType) -> QWebEngineView:
        return Window(self.kept)

    def gone(self) -> None:
        self.kept.discard(self)
        self.deleteLater()


if __name__ == "__main__":
    os.environ |= SETTINGS
    application = QApplication(sys.argv)
    Window(set()).setUrl("about:blank")
    print(f"http://127.0.0.1:{PORT}", flush=True)
    sys.exit(application.exec())
