/** A process that is a worker: from its start to its exit code. */

import { AccessRefusedError, ServerUnavailableError, WorkerSetupError } from './errors.js';
import type { WorkerServer } from './worker-server.js';

/** What a worker's process ends with. */
export const EXIT_CODES = { stopped: 0, failed: 1, wrong: 2, refused: 4, noServer: 5 } as const;

/** What it ends with if a second signal ends it at once. */
const SIGNALLED = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Run a worker until a signal stops it, or until it cannot go on, which is said in one line on stderr.
 *
 * @param program named in that line.
 * @param prepare called before the start.
 * @returns the exit code.
 */
export async function runProcess(
  program: string,
  server: WorkerServer,
  prepare: () => Promise<void> = async () => {},
): Promise<number> {
  let stopped = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stopped) {
        process.exit(SIGNALLED[signal]);
      }
      stopped = true;
      void server.shutdown();
    });
  }
  try {
    await prepare();
    await server.start();
    if (stopped) {
      await server.shutdown();
    }
    await server.waitUntilStopped();
    return EXIT_CODES.stopped;
  } catch (error) {
    if (stopped && error instanceof ServerUnavailableError) {
      return EXIT_CODES.stopped;
    }
    process.stderr.write(`${program}: ${(error as Error).message}\n`);
    return codeOf(error);
  }
}

function codeOf(error: unknown): number {
  if (error instanceof AccessRefusedError) {
    return EXIT_CODES.refused;
  }
  if (error instanceof ServerUnavailableError) {
    return EXIT_CODES.noServer;
  }
  return error instanceof WorkerSetupError ? EXIT_CODES.wrong : EXIT_CODES.failed;
}
