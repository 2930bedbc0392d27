"""docs/client.md, executed against a real server: a reader follows it from the first block to the last."""

import asyncio
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import working
from tests.acceptance.test_documentation import Session, blocks_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "client.md"
BLOCKS = list(blocks_of(DOCUMENT.read_text(encoding="utf-8")))


@pytest.mark.timeout(300)
async def test_everything_the_document_shows_works_with_a_server(server_url, engine, tmp_path):
    session = Session(tmp_path)
    # The worker of an application finds the templates here.
    session.environment |= {"TASKER_ORCHESTRATION_URL": server_url, "TASKER_TEMPLATE_PATH": str(tmp_path)}
    for block in BLOCKS:
        if block.marker.startswith("file: "):
            session.follow(block)
    handlers = {"greet": runpy.run_path(str(tmp_path / "handlers.py"))["greet"]}
    async with working(engine, handlers):
        for block in BLOCKS:
            if block.marker == "runs with a server":
                await asyncio.to_thread(session.execute, replace(block, kind="python"))


def test_no_block_is_left_out():
    assert {block.marker for block in BLOCKS if block.kind == "py"} == {"runs with a server"}
    assert sum(block.kind == "py" for block in BLOCKS) >= 8
