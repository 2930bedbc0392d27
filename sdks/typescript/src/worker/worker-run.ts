/** One run of a worker: from its settings to its last call. */

import { hostname } from 'node:os';

import { HttpConnection } from '../client/http.js';
import type { EventSystem } from '../events/event-system.js';
import { createLogger } from '../logging/index.js';
import { type Registration, WorkerCalls } from './calls.js';
import { ServerUnavailableError, WorkerSetupError } from './errors.js';
import { type HealthReport, HealthServer } from './health.js';
import { LeaseKeeper } from './lease-keeper.js';
import type { StepCounts } from './reporter.js';
import { findService, type HandlerCatalogue, type Service } from './service.js';
import type { WorkerSettings } from './settings.js';
import { StepWorker } from './step-worker.js';
import { type RegisteredTemplates, registerTemplates } from './templates.js';
import { SDK } from './version.js';
import { Backoff, pause } from './wake.js';

/** Milliseconds between looks at the registered handlers. */
const LOOK_MS = 250;

const log = createLogger({ logger: 'tasker.worker' });

/** Whose run it is. */
export interface RunHost {
  readonly handlers: HandlerCatalogue;
  readonly events: EventSystem;
  /** Aborts when nobody waits for the start any more. */
  readonly abandoned: AbortSignal;
  /** Whether steps are to be taken. */
  isRunning(): boolean;
  /** What health checks are told. */
  healthReport(): HealthReport;
  /** The run cannot go on. */
  failed(error: Error): void;
}

/** Registers what there is, runs steps, and tells the server of handlers that come later. */
export class WorkerRun {
  readonly settings: WorkerSettings;
  readonly startedAt = performance.now();
  readonly #host: RunHost;
  readonly #connection: HttpConnection;
  readonly #health: HealthServer;
  readonly #worker: StepWorker;
  #healthPort: number | null = null;
  #templates: RegisteredTemplates = { handlers: [], namespaces: [] };
  #service: Service = { callables: [], namespaces: null, missing: [] };
  #watch: NodeJS.Timeout | undefined;

  constructor(settings: WorkerSettings, host: RunHost) {
    this.settings = settings;
    this.#host = host;
    this.#connection = new HttpConnection(settings.url, settings.headers);
    this.#worker = new StepWorker({
      ...settings,
      events: host.events,
      calls: new WorkerCalls(this.#connection),
      handlers: host.handlers,
      keeper: (watcher) => new LeaseKeeper(settings.url, settings.headers, settings.concurrency, watcher),
    });
    this.#health = new HealthServer(() => host.healthReport());
  }

  /** The port of the health checks; null if there are none. */
  get healthPort(): number | null {
    return this.#healthPort;
  }

  /** What it has handlers for. */
  get callables(): readonly string[] {
    return this.#service.callables;
  }

  /** Where it takes steps from; null is everywhere. */
  get namespaces(): readonly string[] | null {
    return this.#service.namespaces;
  }

  /** Whether the server answered the last time that it was asked. */
  get inContact(): boolean {
    return this.#worker.inContact;
  }

  /** Handlers that are running. */
  get activeHandlers(): number {
    return this.#worker.running;
  }

  /** What has become of steps. */
  get counts(): StepCounts {
    return this.#worker.counts;
  }

  /** Why it cannot go on; null if it can. */
  get fatal(): Error | null {
    return this.#worker.fatal;
  }

  /**
   * Register templates and handlers, and take steps from then on.
   *
   * @throws WorkerSetupError, AccessRefusedError, ServerUnavailableError or RequestRefusedError.
   */
  async begin(files: readonly string[]): Promise<void> {
    if (this.settings.healthBind !== null) {
      this.#healthPort = await this.#health.listen(this.settings.healthBind);
    }
    const deadline = performance.now() + this.settings.waitForMs;
    this.#templates = await this.#onceThere(deadline, () => registerTemplates(this.#connection, files));
    this.#service = await this.#findService();
    if (this.callables.length > 0) {
      await this.#onceThere(deadline, () => this.#worker.register(this.#registration()));
    } else if (this.settings.requireHandlers) {
      throw new WorkerSetupError('there are no handlers: name files or directories that have some');
    } else {
      log.warn('no_handlers', { reason: 'waiting until some are registered' });
    }
    this.#worker.start((error) => this.#host.failed(error));
    this.#watch = setInterval(() => void this.#look(), LOOK_MS);
  }

  /** Take no more steps, give running handlers their time, report everything, and leave. */
  async stop(): Promise<void> {
    await this.#worker.stop();
  }

  /** End what {@link begin} began, however far that got. */
  async close(): Promise<void> {
    clearInterval(this.#watch);
    await this.#health.close();
    this.#connection.close();
  }

  /** Do something as soon as the server is there. */
  async #onceThere<Result>(deadline: number, act: () => Promise<Result>): Promise<Result> {
    const { abandoned } = this.#host;
    const backoff = new Backoff();
    for (;;) {
      try {
        return await act();
      } catch (error) {
        const left = deadline - performance.now();
        if (!(error instanceof ServerUnavailableError) || left <= 0 || abandoned.aborted) {
          throw error;
        }
        log.warn('server_unavailable', { duty: 'start', reason: error.message });
        await pause(Math.min(left, backoff.next(error.retryAfterSeconds)), abandoned);
      }
    }
  }

  async #findService(): Promise<Service> {
    const service = await findService(this.#host.handlers, this.#templates, this.settings.namespaces);
    if (service.missing.length > 0 && service.missing.join() !== this.#service.missing.join()) {
      log.warn('handlers_missing', { callables: service.missing });
    }
    return service;
  }

  /** See whether there are other handlers than before. */
  async #look(): Promise<void> {
    const service = await this.#findService();
    const changed = service.callables.join('\n') !== this.callables.join('\n');
    this.#service = service;
    if (changed && service.callables.length > 0 && this.#host.isRunning()) {
      this.#worker.change(this.#registration());
    }
  }

  #registration(): Registration {
    return {
      name: this.settings.name,
      callables: this.#service.callables,
      namespaces: this.#service.namespaces,
      concurrency: this.settings.concurrency,
      sdk: SDK,
      hostname: hostname(),
      pid: process.pid,
      lazy_results: true,
    };
  }
}
