"""Writes docs/llms.txt, the list of pages for language models: the navigation, with the first sentence of each page.

python .ci/llms.py [--check]
"""

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "llms.txt"


def first_sentence(page: Path) -> str:
    """Returns the first sentence of a page's text, without links and emphasis."""
    paragraphs = page.read_text(encoding="utf-8").split("\n\n")
    text = next((part for part in paragraphs if not part.startswith(("#", "!", "<", "|", "```", "- "))), "")
    plain = re.sub(r"\*\*|\[([^\]]*)\]\([^)]*\)", lambda found: found[1] or "", " ".join(text.split()))
    return re.split(r"(?<=[.:])\s", plain, maxsplit=1)[0].rstrip(":.") + "."


def listing() -> str:
    """Returns the text of llms.txt."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    parts = [f"# {site['site_name']}\n\n> {site['site_description']}\n"]
    for section in site["nav"]:
        for title, pages in section.items():
            if isinstance(pages, str):
                continue
            rows = [
                f"- [{name}]({path.removesuffix('.md')}/): {first_sentence(ROOT / 'docs' / path)}"
                for page in pages
                for name, path in page.items()
            ]
            parts.append("\n".join([f"## {title}\n", *rows]) + "\n")
    return "\n".join(parts)


def main() -> int:
    if "--check" in sys.argv:
        if TARGET.read_text(encoding="utf-8") == listing():
            return 0
        print("docs/llms.txt must be generated again; run python .ci/llms.py", file=sys.stderr)
        return 1
    TARGET.write_text(listing(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
