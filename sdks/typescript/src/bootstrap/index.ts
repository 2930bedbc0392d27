/** The worker of this process, as functions. An argument `_module` has no effect: there is no native module to name. */

import type { WorkerServerConfig } from '../worker/settings.js';
import { PROTOCOL_VERSION, VERSION } from '../worker/version.js';
import { type ServerHealthCheckResult, type ServerStatus, WorkerServer } from '../worker/worker-server.js';

/** How the worker is to run. */
export type BootstrapConfig = WorkerServerConfig;

/** What became of a start. */
export interface BootstrapResult {
  readonly success: boolean;
  readonly status: 'started' | 'already_running' | 'error';
  readonly message: string;
  /** The worker's name in the history. */
  readonly workerId?: string;
  /** Why it did not start. */
  readonly error?: string;
}

/** What became of a stop. */
export interface StopResult {
  readonly success: boolean;
  readonly status: 'stopped' | 'not_running' | 'error';
  readonly message: string;
}

/** How the worker of this process stands. */
export type WorkerStatus = ServerStatus;

let current: WorkerServer | null = null;

/**
 * Start the worker of this process.
 *
 * Never throws: what goes wrong is in the result. Handlers are registered with {@link getWorkerServer}, or are those of
 * `TYPESCRIPT_HANDLER_PATH` and those made by factories such as `defineHandler`.
 */
export async function bootstrapWorker(config: BootstrapConfig = {}, _module?: unknown): Promise<BootstrapResult> {
  const server = getWorkerServer();
  if (isWorkerRunning()) {
    return { success: true, status: 'already_running', message: 'the worker runs already', ...named(server) };
  }
  try {
    await server.start(config);
    return { success: true, status: 'started', message: 'the worker runs', ...named(server) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { success: false, status: 'error', message: 'the worker did not start', error: message };
  }
}

/** The worker of this process, which may not run yet. */
export function getWorkerServer(): WorkerServer {
  current ??= new WorkerServer();
  return current;
}

/** How the worker of this process stands. */
export function getWorkerStatus(_module?: unknown): WorkerStatus {
  return getWorkerServer().status();
}

/** Whether the worker of this process takes steps just now. */
export function healthCheck(_module?: unknown): ServerHealthCheckResult {
  return getWorkerServer().healthCheck();
}

/** Whether the worker of this process runs. */
export function isWorkerRunning(_module?: unknown): boolean {
  return current?.isRunning() ?? false;
}

/** Stop the worker of this process in good order; see {@link WorkerServer.shutdown}. Never throws. */
export async function stopWorker(_module?: unknown): Promise<StopResult> {
  if (!isWorkerRunning()) {
    return { success: false, status: 'not_running', message: 'no worker runs' };
  }
  try {
    await getWorkerServer().shutdown();
    return { success: true, status: 'stopped', message: 'the worker has stopped' };
  } catch (error) {
    return { success: false, status: 'error', message: String(error) };
  }
}

/** Let the worker of this process take no more steps; it ends when those that run are done. Does not wait for that. */
export function transitionToGracefulShutdown(_module?: unknown): StopResult {
  if (!isWorkerRunning()) {
    return { success: false, status: 'not_running', message: 'no worker runs' };
  }
  void stopWorker();
  return { success: true, status: 'stopped', message: 'the worker takes no more steps' };
}

/** Version of this package. */
export function getVersion(_module?: unknown): string {
  return VERSION;
}

/** Version of the worker protocol that this package speaks; there is no Rust in it. */
export function getRustVersion(_module?: unknown): string {
  return PROTOCOL_VERSION;
}

function named(server: WorkerServer): { workerId?: string } {
  const workerId = server.getWorkerId();
  return workerId === null ? {} : { workerId };
}
