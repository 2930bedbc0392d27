/** The worker: keeps as many handlers running as it may, and loses nothing on the way. */

import type { EventPollerConfig } from '../events/event-poller.js';
import type { EventSystem } from '../events/event-system.js';
import { WorkerEventNames } from '../events/names.js';
import { createLogger } from '../logging/index.js';
import type { LeaseItem } from '../wire.js';
import type { Registered, Registration, WorkerCalls } from './calls.js';
import { AccessRefusedError, ServerUnavailableError, WorkerUnknownError } from './errors.js';
import { HeldSteps } from './held-steps.js';
import type { LeaseKeeper, LeaseWatcher } from './lease-keeper.js';
import { Reporter, type StepCounts } from './reporter.js';
import { ResultFetcher } from './result-fetcher.js';
import { Slots } from './slots.js';
import { type HandlerSource, StepExecutionSubscriber } from './step-execution-subscriber.js';
import { Backoff, pause, Wake } from './wake.js';

/** Milliseconds between two calls for steps while the server has none and does not wait. */
const IDLE_MS = 1_000;

const log = createLogger({ logger: 'tasker.worker' });

/** How a worker runs. */
export interface StepWorkerOptions {
  /** Told what happens. */
  readonly events: EventSystem;
  readonly calls: WorkerCalls;
  readonly handlers: HandlerSource;
  /** Makes the thread that keeps the leases. */
  readonly keeper: (watcher: LeaseWatcher) => LeaseKeeper;
  /** The worker's name in the history. */
  readonly name: string;
  /** Handlers that run at once. */
  readonly concurrency: number;
  /** Milliseconds that a handler may run if its step has no limit of its own. */
  readonly handlerTimeoutMs: number;
  /** Milliseconds that running handlers have once the worker is stopped. */
  readonly shutdownTimeoutMs: number;
  /** Milliseconds that a call for steps waits on the server. */
  readonly leaseWaitMs: number;
  /** Milliseconds between heartbeats; as the server says if null. */
  readonly heartbeatMs: number | null;
  /** How often steps are asked for, and told about. */
  readonly poller: EventPollerConfig;
}

/** Leases steps, runs their handlers and reports the results. */
export class StepWorker {
  readonly #options: StepWorkerOptions;
  readonly #calls: WorkerCalls;
  readonly #slots: Slots;
  readonly #subscriber: StepExecutionSubscriber;
  readonly #reporter: Reporter;
  readonly #keeper: LeaseKeeper;
  readonly #held: HeldSteps;
  readonly #fetcher: ResultFetcher;
  readonly #backoff = new Backoff();
  readonly #wake = new Wake();
  #registration: Registration | null = null;
  #registered: Registered | null = null;
  /** The server does not know yet what the registration says. */
  #mustRegister = false;
  /** Leases may be ours that we do not know of: contact was lost, or a call was cut short. */
  #mustRecover = false;
  #inContact = false;
  #stopping = false;
  #fatal: Error | null = null;
  #onFatal: (error: Error) => void = () => {};
  /** Ends the call for steps that is under way. */
  #leaseCall: AbortController | null = null;

  constructor(options: StepWorkerOptions) {
    this.#options = options;
    this.#calls = options.calls;
    this.#slots = new Slots(options.concurrency);
    const emitter = options.events.getEmitter();
    const host = this.#host();
    this.#reporter = new Reporter(host, options.calls, this.#slots, emitter, options.name);
    this.#fetcher = new ResultFetcher(host, options.calls);
    this.#subscriber = new StepExecutionSubscriber(emitter, options.handlers, {
      workerId: options.name,
      handlerTimeoutMs: options.handlerTimeoutMs,
      fetchResults: (lease, signal) => this.#fetcher.fetch(lease, signal),
      onResult: (lease, result) => this.#reporter.report(lease, result),
    });
    this.#keeper = options.keeper({
      lost: (leaseIds, reason) => this.#lose(leaseIds, reason),
      unknown: (workerId) => this.#unknown(workerId),
      refused: (message) => this.#fail(new AccessRefusedError(message)),
    });
    this.#held = new HeldSteps({
      slots: this.#slots,
      keeper: this.#keeper,
      subscriber: this.#subscriber,
      reporter: this.#reporter,
      emitter,
      workerName: options.name,
    });
  }

  /** Handlers that are running. */
  get running(): number {
    return this.#subscriber.getActiveHandlers();
  }

  /** What has become of steps. */
  get counts(): StepCounts {
    return this.#reporter.counts;
  }

  /** Whether it is registered, and the server answered the last time that it was asked. */
  get inContact(): boolean {
    return this.#inContact && this.#registered !== null;
  }

  /** Why it cannot go on; null if it can. */
  get fatal(): Error | null {
    return this.#fatal;
  }

  /**
   * Register with the server.
   *
   * @throws ServerUnavailableError, AccessRefusedError or RequestRefusedError.
   */
  async register(registration: Registration): Promise<void> {
    this.#registration = registration;
    await this.#register();
  }

  /** Change what the worker takes; it keeps its leases. The server learns of it as soon as it can be reached. */
  change(registration: Registration): void {
    this.#registration = registration;
    this.#mustRegister = true;
    this.#interrupt();
  }

  /** Take steps and run them, from now on. `onFatal` is called if the worker cannot go on. */
  start(onFatal: (error: Error) => void): void {
    this.#onFatal = onFatal;
    this.#subscriber.start();
    this.#keeper.start();
    this.#options.events.start((stopping) => this.#cycle(stopping), this.#options.poller);
  }

  /** Take no more steps, give running handlers their time, report everything, and leave. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#interrupt();
    await this.#options.events.stop();
    if (this.#fatal === null) {
      await this.#giveBackUnknown();
      await this.#held.drain(this.#options.shutdownTimeoutMs, (this.#registered?.lease_seconds ?? 0) * 1000);
    }
    this.#reporter.stop();
    this.#fetcher.stop();
    this.#subscriber.stop();
    await this.#keeper.stop();
    if (this.#fatal === null) {
      await this.#deregister();
    }
  }

  /** What the parts of the worker may know of it, and tell it. */
  #host() {
    const worker = this;
    return {
      get id() {
        return worker.#registered?.worker_id ?? null;
      },
      get wantsSteps() {
        return !worker.#stopping && !worker.#mustRecover;
      },
      start: (leases: readonly LeaseItem[]) => this.#start(leases),
      forget: (leaseIds: readonly number[]) => void this.#held.forget(leaseIds),
      lost: (leaseId: number) => this.#lose([leaseId], 'lost'),
      answered: (moreReady: boolean) => {
        this.#inContact = true;
        if (moreReady || this.#slots.free > 0) {
          this.#wake.set();
        }
      },
      unavailable: (duty: string, error: ServerUnavailableError) => {
        this.#unavailable(duty, error);
        this.#interrupt();
      },
      unknown: (workerId: string) => this.#unknown(workerId),
      fail: (error: Error) => this.#fail(error),
    };
  }

  // Registering

  async #register(): Promise<void> {
    const registration = this.#registration;
    if (registration === null) {
      return;
    }
    const known = this.#registered;
    const renewed = known === null ? registration : { ...registration, worker_id: known.worker_id };
    this.#registered = await this.#calls.register(renewed);
    this.#mustRegister = registration !== this.#registration;
    this.#mustRecover &&= known !== null;
    this.#inContact = true;
    const { worker_id: workerId, heartbeat_seconds: seconds } = this.#registered;
    this.#keeper.registered(workerId, Math.min(this.#options.heartbeatMs ?? Infinity, seconds * 1000));
    log.info('worker_registered', { server: this.#calls.url, worker_id: workerId, callables: registration.callables });
    this.#options.events.getEmitter().emit(WorkerEventNames.WORKER_READY, { workerId: this.#options.name });
  }

  /** The server does not know the worker of this id: all that it held is lost. */
  #unknown(workerId: string): void {
    if (this.#registered?.worker_id !== workerId) {
      return;
    }
    this.#registered = null;
    log.warn('worker_unknown', { server: this.#calls.url, worker_id: workerId });
    this.#held.loseAll();
    this.#interrupt();
  }

  // Leasing

  /** One turn: ask for steps, or do what has to be done before. Returns how many were started. */
  async #cycle(stopping: AbortSignal): Promise<number> {
    try {
      while (this.#mustWait()) {
        await this.#wake.wait(IDLE_MS);
      }
      if (this.#stopping) {
        return 0;
      }
      if (this.#registered === null || this.#mustRegister) {
        await this.#register();
      }
      const count = this.#mustRecover ? await this.#recover() : await this.#lease();
      this.#inContact = true;
      this.#backoff.reset();
      return count;
    } catch (error) {
      await this.#leasingFailed(error as Error, stopping);
      return 0;
    }
  }

  /** Whether there is nothing to do just now. */
  #mustWait(): boolean {
    const nothingToServe = this.#registration === null;
    const full = this.#slots.free === 0 && !this.#mustRecover && !this.#mustRegister && this.#registered !== null;
    return !this.#stopping && (nothingToServe || full);
  }

  async #lease(): Promise<number> {
    const registered = this.#registered;
    const limit = this.#slots.free;
    if (registered === null || this.#stopping || limit === 0) {
      return 0;
    }
    const waitSeconds = Math.min(this.#options.leaseWaitMs / 1000, registered.max_wait_seconds);
    const call = (this.#leaseCall = new AbortController());
    const started = performance.now();
    let leases: readonly LeaseItem[];
    this.#slots.promise(limit);
    try {
      leases = await this.#calls.lease(registered.worker_id, limit, waitSeconds, call.signal);
    } catch (error) {
      if (call.signal.aborted) {
        // The server may have been granting steps just then.
        this.#mustRecover = true;
        return 0;
      }
      throw error;
    } finally {
      this.#leaseCall = null;
      this.#slots.unpromise(limit);
    }
    if (registered.worker_id !== this.#registered?.worker_id) {
      return 0;
    }
    if (leases.length === 0 && performance.now() - started < IDLE_MS) {
      // A server that answers at once with nothing, such as one that is about to stop, is left alone a while.
      await this.#wake.wait(IDLE_MS);
    }
    return await this.#start(leases);
  }

  /** Take over leases whose grant was lost on the way. */
  async #recover(): Promise<number> {
    if (this.#registered === null || this.#stopping) {
      return 0;
    }
    const leases = await this.#calls.recover(this.#registered.worker_id);
    this.#mustRecover = false;
    return await this.#start(leases);
  }

  async #leasingFailed(error: Error, stopping: AbortSignal): Promise<void> {
    if (error instanceof WorkerUnknownError) {
      this.#unknown(this.#registered?.worker_id ?? '');
    } else if (error instanceof ServerUnavailableError) {
      this.#unavailable('lease', error);
      await pause(this.#backoff.next(error.retryAfterSeconds), stopping);
    } else {
      this.#fail(error);
    }
  }

  /** Start steps, and give back those that there is no slot for. */
  async #start(leases: readonly LeaseItem[]): Promise<number> {
    if (leases.length === 0) {
      return 0;
    }
    if (this.#stopping) {
      await this.#giveBack(leases);
      return 0;
    }
    const { started, excess } = this.#held.start(leases);
    await this.#giveBack(excess);
    return started;
  }

  async #giveBack(leases: readonly LeaseItem[]): Promise<void> {
    const workerId = this.#registered?.worker_id;
    if (leases.length === 0 || workerId === undefined) {
      return;
    }
    try {
      await this.#calls.release(workerId, leases);
    } catch (error) {
      // Then their leases run out.
      log.warn('server_unavailable', { duty: 'release', reason: (error as Error).message });
    }
  }

  // Losing

  #lose(leaseIds: readonly number[], reason: 'lost' | 'cancelled'): void {
    this.#held.lose(leaseIds, reason);
    this.#wake.set();
  }

  #unavailable(duty: string, error: ServerUnavailableError): void {
    this.#inContact = false;
    this.#mustRecover = true;
    log.warn('server_unavailable', { duty, reason: error.message });
  }

  /** End the call for steps that waits, since there is something else to do. */
  #interrupt(): void {
    this.#leaseCall?.abort();
    this.#wake.set();
  }

  /** The worker cannot go on: it stops all handlers, and whoever runs it is told. */
  #fail(error: Error): void {
    if (this.#fatal !== null) {
      return;
    }
    this.#fatal = error;
    this.#inContact = false;
    this.#reporter.stop();
    this.#held.loseAll();
    this.#onFatal(error);
  }

  // Stopping

  /** Give back what a call that was cut short may have been granted. */
  async #giveBackUnknown(): Promise<void> {
    const workerId = this.#registered?.worker_id;
    if (!this.#mustRecover || workerId === undefined) {
      return;
    }
    try {
      const leases = await this.#calls.recover(workerId);
      await this.#giveBack(leases.filter((lease) => !this.#slots.knows(lease.lease_id)));
    } catch (error) {
      log.warn('server_unavailable', { duty: 'recover', reason: (error as Error).message });
    }
  }

  async #deregister(): Promise<void> {
    const workerId = this.#registered?.worker_id;
    if (workerId === undefined) {
      return;
    }
    try {
      await this.#calls.deregister(workerId);
    } catch (error) {
      log.warn('deregistration_failed', { reason: (error as Error).message });
    }
  }
}
