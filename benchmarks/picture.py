"""The picture of the README: ``python benchmarks/picture.py RUN docs/picture.png --cards ID ID ID``.

Takes the named cards (record ids) of a report's gallery, with its key, as a reader sees them. Needs playwright (extra
``dev``) and a Chromium.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

KEEP = """ids => {
  const cards = [...document.querySelectorAll('.gallery article')];
  const wanted = cards.filter(card => ids.includes(card.querySelector('.id').textContent.trim().split(' · ').pop()));
  cards.filter(card => !wanted.includes(card)).forEach(card => card.remove());
  wanted.forEach(card => card.hidden = false);
  document.querySelectorAll('.gallery img').forEach(image => image.loading = 'eager');
  document.querySelectorAll('#pictures > :not(.key, .gallery)').forEach(part => part.remove());
  Object.assign(document.querySelector('#pictures').style, {border: 'none', padding: '12px', margin: '0'});
  return wanted.length;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cards", nargs="+", required=True)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--width", type=int, default=1120, help="of the page, in pixels")
    args = parser.parse_args()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": args.width, "height": 900})
        page.goto(f"file://{(args.run / 'report.html').resolve()}")
        found = page.evaluate(KEEP, args.cards)
        if found < len(args.cards):
            parser.error(f"{found} of the {len(args.cards)} cards are in the gallery of {args.run / 'report.html'}")
        page.wait_for_function("[...document.querySelectorAll('.gallery img')].every(image => image.complete)")
        page.locator("#pictures").screenshot(path=args.out)
        browser.close()


if __name__ == "__main__":
    main()
