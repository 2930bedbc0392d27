/** A worker as an application starts and stops it. */

import { EventSystem } from '../events/event-system.js';
import { WorkerEventNames } from '../events/names.js';
import { configureLogging, createLogger } from '../logging/index.js';
import { HandlerSystem } from '../registry/handler-system.js';
import type { HealthReport } from './health.js';
import { readSettings, type WorkerServerConfig, type WorkerSettings } from './settings.js';
import { ShutdownController, type ShutdownHandler } from './shutdown-controller.js';
import { findTemplates } from './templates.js';
import { WorkerRun } from './worker-run.js';

const log = createLogger({ logger: 'tasker.worker' });

/** The states of a worker. */
export const ServerStates = {
  INITIALIZED: 'initialized',
  STARTING: 'starting',
  RUNNING: 'running',
  SHUTTING_DOWN: 'shutting_down',
  STOPPED: 'stopped',
  ERROR: 'error',
} as const;

/** What a worker is doing. */
export type ServerState = (typeof ServerStates)[keyof typeof ServerStates];

/** How a worker stands. */
export interface ServerStatus {
  readonly state: ServerState;
  readonly workerId: string;
  readonly running: boolean;
  /** Attempts whose end is recorded, failures among them. */
  readonly processedCount: number;
  /** Those that failed. */
  readonly errorCount: number;
  /** Handlers that are running. */
  readonly activeHandlers: number;
  readonly uptimeMs: number;
}

/** Whether a worker takes steps. */
export interface ServerHealthCheckResult {
  readonly healthy: boolean;
  readonly status?: ServerStatus;
  /** Why it takes none. */
  readonly error?: string;
}

/** The parts of a running worker. */
export interface ServerComponents {
  readonly handlerSystem: HandlerSystem;
  readonly eventSystem: EventSystem;
}

/**
 * Runs handlers in this process: takes steps from a Tasker server, and reports what came of them.
 *
 * Handlers may be registered before or after {@link start}; those that come later are told to the server soon.
 */
export class WorkerServer {
  readonly #config: WorkerServerConfig;
  readonly #handlers = new HandlerSystem();
  readonly #events = new EventSystem();
  readonly #shutdown = new ShutdownController();
  #state: ServerState = ServerStates.INITIALIZED;
  #run: WorkerRun | null = null;
  #error: Error | null = null;
  #stopped: Promise<void> = Promise.resolve();
  #abandoned = new AbortController();
  #ended: { promise: Promise<void>; resolve: () => void } = deferred();

  /** @param config how to run; what {@link start} is given counts before it. */
  constructor(config: WorkerServerConfig = {}) {
    this.#config = config;
  }

  /**
   * Start, and return once steps are taken, or would be if there were handlers.
   *
   * @throws WorkerSetupError if a setting or a template is wrong; AccessRefusedError if the credentials are refused;
   *   ServerUnavailableError if the server was not there for `waitForMs`; Error if it runs already.
   */
  async start(config: WorkerServerConfig = {}): Promise<this> {
    if (this.#state === ServerStates.STARTING || this.isRunning() || this.#state === ServerStates.SHUTTING_DOWN) {
      throw new Error(`the worker is ${this.#state}: it cannot be started`);
    }
    this.#state = ServerStates.STARTING;
    this.#error = null;
    this.#abandoned = new AbortController();
    this.#ended = deferred();
    try {
      const settings = { ...this.#config, ...given(config) };
      configureLogging({ level: settings.logLevel });
      await this.#begin(readSettings(settings));
    } catch (error) {
      this.#error = error as Error;
      this.#state = ServerStates.ERROR;
      await this.#run?.close();
      this.#ended.resolve();
      throw error;
    }
    return this;
  }

  /**
   * Take no more steps, let running handlers finish, report everything and leave.
   *
   * Does nothing unless the worker runs; a start that waits for the server is given up.
   */
  async shutdown(): Promise<void> {
    this.#abandoned.abort();
    if (this.#state === ServerStates.RUNNING) {
      this.#stopped = this.#stop();
    }
    await this.#stopped;
  }

  /** Call `handler` when the worker begins to stop. */
  onShutdown(handler: ShutdownHandler): void {
    this.#shutdown.onShutdown(handler);
  }

  /**
   * Wait until the worker has ended.
   *
   * @throws Error that made it end, such as an AccessRefusedError.
   */
  async waitUntilStopped(): Promise<void> {
    await this.#ended.promise;
    if (this.#error !== null) {
      throw this.#error;
    }
  }

  /** Where handlers are registered. */
  getHandlerSystem(): HandlerSystem {
    return this.#handlers;
  }

  /** Where to listen to what happens. */
  getEventSystem(): EventSystem {
    return this.#events;
  }

  /** What the worker is doing. */
  getState(): ServerState {
    return this.#state;
  }

  /** The worker's name in the history; null before it was started. */
  getWorkerId(): string | null {
    return this.#run?.settings.name ?? null;
  }

  /** Whether it takes steps, or would if there were any. */
  isRunning(): boolean {
    return this.#state === ServerStates.RUNNING;
  }

  /** The port of the health checks; null if there are none. */
  get healthPort(): number | null {
    return this.#run?.healthPort ?? null;
  }

  /** Whether it takes steps just now. */
  healthCheck(): ServerHealthCheckResult {
    const error = this.#whyNotReady();
    return error === null ? { healthy: true, status: this.status() } : { healthy: false, status: this.status(), error };
  }

  /** How it stands. */
  status(): ServerStatus {
    const run = this.#run;
    const { succeeded, failed } = run?.counts ?? { succeeded: 0, failed: 0 };
    return {
      state: this.#state,
      workerId: run?.settings.name ?? '',
      running: this.isRunning(),
      processedCount: succeeded + failed,
      errorCount: failed,
      activeHandlers: run?.activeHandlers ?? 0,
      uptimeMs: run === null ? 0 : Math.round(performance.now() - run.startedAt),
    };
  }

  async #begin(settings: WorkerSettings): Promise<void> {
    await this.#handlers.initialize();
    await this.#handlers.loadFromEnv();
    const files = await findTemplates(settings.templatePath);
    const run = (this.#run = new WorkerRun(settings, {
      handlers: this.#handlers,
      events: this.#events,
      abandoned: this.#abandoned.signal,
      isRunning: () => this.isRunning(),
      healthReport: () => this.#healthReport(),
      failed: (error) => this.#failed(error),
    }));
    await run.begin(files);
    this.#state = ServerStates.RUNNING;
    log.info('worker_started', {
      worker: settings.name,
      server: settings.url,
      namespaces: run.namespaces ?? 'all',
      templates: files.length,
      handlers: run.callables.length,
    });
    this.#events.getEmitter().emit(WorkerEventNames.WORKER_STARTED, { workerId: settings.name });
  }

  #failed(error: Error): void {
    log.error('worker_failed', { reason: error.message });
    this.#error = error;
    this.#events.getEmitter().emit(WorkerEventNames.WORKER_ERROR, { error });
    void this.shutdown();
  }

  async #stop(): Promise<void> {
    const run = this.#run as WorkerRun;
    const workerId = run.settings.name;
    this.#state = ServerStates.SHUTTING_DOWN;
    this.#events.getEmitter().emit(WorkerEventNames.WORKER_SHUTDOWN_STARTED, { workerId });
    this.#shutdown.trigger('shutdown');
    await this.#shutdown.executeHandlers();
    await run.stop();
    this.#error ??= run.fatal;
    await run.close();
    this.#shutdown.reset();
    this.#state = this.#error === null ? ServerStates.STOPPED : ServerStates.ERROR;
    log.info('worker_stopped', { worker: workerId, steps: this.status().processedCount });
    this.#events.getEmitter().emit(WorkerEventNames.WORKER_STOPPED, { workerId });
    this.#ended.resolve();
  }

  #whyNotReady(): string | null {
    const run = this.#run;
    if (run === null || !this.isRunning()) {
      return this.#error?.message ?? `the worker is ${this.#state}`;
    }
    if (run.callables.length === 0) {
      return 'there are no handlers';
    }
    return run.inContact ? null : `no contact with ${run.settings.url}`;
  }

  #healthReport(): HealthReport {
    const reason = this.#whyNotReady();
    const { workerId, running, processedCount, errorCount, activeHandlers, uptimeMs } = this.status();
    return {
      status: reason === null ? 'healthy' : 'unhealthy',
      reason,
      worker_id: workerId,
      running,
      processed: processedCount,
      failed: errorCount,
      active: activeHandlers,
      uptime_seconds: Math.round(uptimeMs / 1000),
      server: { url: this.#run?.settings.url ?? '', connected: this.#run?.inContact ?? false },
      handlers: this.#run?.callables ?? [],
    };
  }
}

/** Return a new worker, which is not started yet. */
export function createWorkerServer(config?: WorkerServerConfig): WorkerServer {
  return new WorkerServer(config);
}

function given(config: WorkerServerConfig): WorkerServerConfig {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined));
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
