/** Programs of this package as processes of their own. */

import { type ChildProcess, spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

/** A process, what it printed so far, and what it ends with. */
export interface Child {
  readonly process: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<number | null>;
}

const DIST = new URL('../../', import.meta.url);

/** Run a compiled program of this package; it is killed at the end of the test. */
export function run(
  test: TestContext,
  program: string,
  args: readonly string[] = [],
  environment: Record<string, string> = {},
  directory?: string,
): Child {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('TASKER_') && name !== 'RUST_LOG');
  const child = spawn(process.execPath, [fileURLToPath(new URL(program, DIST)), ...args], {
    env: { ...Object.fromEntries(kept), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: directory,
  });
  let output = '';
  child.stdout.on('data', (part: Buffer) => (output += String(part)));
  child.stderr.on('data', (part: Buffer) => (output += String(part)));
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)));
  test.after(() => child.kill('SIGKILL'));
  return { process: child, output: () => output, ended };
}

/** Return the events of the JSON lines that were logged. */
export function eventsIn(output: string): string[] {
  return output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => (JSON.parse(line) as { event: string }).event);
}
