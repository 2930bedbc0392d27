"""The handlers of the chapter on class-based handlers, pasted into fresh projects, run the steps of one task.

Each project is made as the language's page in `docs/` says, and its worker is started as a user would start it.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sdks.live_pack import ROOT, Process, until

CHAPTER = (ROOT / "tests" / "seed" / "class-based-handlers.txt").read_text(encoding="utf-8")
CARGO_TARGET = ROOT / "sdks" / "rust" / "target"

TEMPLATE = """
name: chapter
namespace_name: chapter
version: 1.0.0
steps:
  - {name: python, handler: {callable: handlers.process_order_handler.ProcessOrderHandler}}
  - {name: ruby, handler: {callable: "Handlers::ProcessOrderHandler"}, dependencies: [python]}
  - {name: rust, handler: {callable: process_order}, dependencies: [ruby]}
  - {name: typescript, handler: {callable: ProcessOrderHandler}, dependencies: [rust]}
"""

CARGO_TOML = """
[package]
name = "chapter"
version = "0.1.0"
edition = "2021"

[dependencies]
anyhow = "1"
async-trait = "0.1"
serde_json = "1"
tasker-shared = { path = "CRATES/tasker-shared" }
tasker-worker-rust = { path = "CRATES/tasker-worker-rust" }
tokio = { version = "1", features = ["macros", "rt-multi-thread"] }

[profile.dev]
debug = 0
"""

MAIN_RS = """
mod process_order;

use tasker_worker_rust::{RegisterHandlers, Worker};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    Worker::builder().register::<process_order::ProcessOrderHandler>().build()?.run().await?;
    Ok(())
}
"""


def snippet(begin: str, end: str) -> str:
    """Return what the chapter shows between two of its lines."""
    return CHAPTER.partition(f"\n{begin}\n\n")[2].partition(f"\n\n{end}\n")[0] + "\n"


def python(project: Path) -> list[str]:
    write(project / "handlers" / "process_order_handler.py", snippet("Python", "Ruby"))
    write(project / "chapter.yaml", TEMPLATE)
    return [sys.executable, "-m", "tasker_core", "worker", "chapter.yaml", "--handlers", "handlers", "--allow-missing"]


def ruby(project: Path) -> list[str]:
    write(project / "handlers" / "process_order_handler.rb", snippet("Ruby", "TypeScript"))
    return ["ruby", "-I", str(ROOT / "sdks/ruby/lib"), str(ROOT / "sdks/ruby/exe/tasker-worker"), "handlers"]


def typescript(project: Path) -> list[str]:
    write(project / "src" / "process_order_handler.ts", snippet("TypeScript", "Rust"))
    write(project / "package.json", '{"private": true, "type": "module"}')
    sdk = ROOT / "sdks" / "typescript"
    build(project, "npm", "install", "--silent", "--no-audit", "--no-fund", str(sdk))
    strict = ["--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--isolatedModules"]
    options = ["--module", "nodenext", "--target", "es2022", "--rootDir", "src", "--outDir", "dist"]
    compiler = sdk / "node_modules" / "typescript" / "bin" / "tsc"
    build(project, "node", str(compiler), *strict, *options, "src/process_order_handler.ts")
    return ["node_modules/.bin/tasker-worker", "dist"]


def rust(project: Path) -> list[str]:
    wrapped = CHAPTER[CHAPTER.index("#![allow(unused)]") : CHAPTER.index("\n\nContext Access Patterns")]
    before, plain, after = wrapped.partition("use anyhow::Result;")
    assert (before, wrapped[-2:]) == ("#![allow(unused)]\nfn main() {\n", "\n}")
    write(project / "src" / "process_order.rs", (plain + after).removesuffix("}"))
    write(project / "src" / "main.rs", MAIN_RS)
    write(project / "Cargo.toml", CARGO_TOML.replace("CRATES", str(ROOT / "sdks" / "rust" / "crates")))
    # What is compiled already is used again.
    shutil.copy(ROOT / "sdks" / "rust" / "Cargo.lock", project)
    build(project, "cargo", "build", "--quiet", "--offline", "--target-dir", str(CARGO_TARGET))
    return [str(CARGO_TARGET / "debug" / "chapter")]


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def build(project: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("languages")
def test_the_chapters_handlers_run_the_steps_of_one_task_in_four_languages(pack, tmp_path):
    pack.client.register_template(TEMPLATE)
    environment = {"TASKER_ORCHESTRATION_URL": pack.server.url, "TASKER_NAMESPACE": "chapter"}
    task = pack.client.create_task("chapter", namespace="chapter", context={"order_id": 1}).task_uuid
    # One after the other: the chapter gives the handlers of three languages one name, so each would take others' steps.
    for make in (python, ruby, rust, typescript):
        name = make.__name__
        project = tmp_path / name
        project.mkdir()
        own = {"TASKER_WORKER_ID": f"{name}-worker"}
        worker = Process(tuple(make(project)), project / "worker.log", environment | own)
        try:
            until(lambda step=name: pack.steps(task)[step].current_state == "complete", f"{name}'s step is complete")
        finally:
            worker.kill()
    expected = {"processed": True, "handler": "process_order"}
    assert pack.completed(task) == dict.fromkeys(("python", "ruby", "rust", "typescript"), expected)
    for name, step in pack.steps(task).items():
        (attempt,) = pack.get(f"/v1/tasks/{task}/workflow_steps/{step.step_uuid}/audit")
        assert attempt["worker"] == f"{name}-worker"
