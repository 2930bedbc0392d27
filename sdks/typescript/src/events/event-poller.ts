/** Asks for steps again and again. */

import { pause } from '../worker/wake.js';
import type { TaskerEventEmitter } from './emitter.js';
import { MetricsEventNames, PollerEventNames } from './names.js';
import type { PollerPayload } from './payloads.js';

/** How a poller runs. */
export interface EventPollerConfig {
  /** Milliseconds to pause after a cycle that found nothing or failed; 10 by default. */
  readonly pollIntervalMs?: number | undefined;
  /** Cycles without a find, one after the other, until `poller.starvation.detected` is told; 100 by default. */
  readonly starvationCheckInterval?: number | undefined;
  /** Cycles between two `metrics.updated`; 100 by default. */
  readonly metricsInterval?: number | undefined;
}

/** What a poller is doing. */
export type PollerState = 'stopped' | 'running' | 'stopping';

/** Asks once; returns how many steps that found. May wait for some, and ends early when the signal aborts. */
export type PollFunction = (signal: AbortSignal) => Promise<number>;

/** A loop that calls a function until it is stopped, one call after the other. */
export class EventPoller {
  readonly #poll: PollFunction;
  readonly #emitter: TaskerEventEmitter;
  readonly #config: { pollIntervalMs: number; starvationCheckInterval: number; metricsInterval: number };
  #state: PollerState = 'stopped';
  #cycles = 0;
  #found = 0;
  #fruitless = 0;
  #stopping = new AbortController();
  #ended: Promise<void> = Promise.resolve();

  /**
   * @param poll asks once.
   * @param emitter told about each cycle.
   */
  constructor(poll: PollFunction, emitter: TaskerEventEmitter, config: EventPollerConfig = {}) {
    this.#poll = poll;
    this.#emitter = emitter;
    this.#config = {
      pollIntervalMs: config.pollIntervalMs ?? 10,
      starvationCheckInterval: config.starvationCheckInterval ?? 100,
      metricsInterval: config.metricsInterval ?? 100,
    };
  }

  /** Start asking; does nothing if it runs. */
  start(): void {
    if (this.#state !== 'stopped') {
      return;
    }
    this.#state = 'running';
    this.#stopping = new AbortController();
    this.#emitter.emit(PollerEventNames.POLLER_STARTED, this.#payload(0));
    this.#ended = this.#run(this.#stopping.signal);
  }

  /** Ask no more, and wait for the cycle that is under way, which is told to end. */
  async stop(): Promise<void> {
    if (this.#state === 'running') {
      this.#state = 'stopping';
      this.#stopping.abort();
    }
    await this.#ended;
  }

  /** Whether it asks. */
  isRunning(): boolean {
    return this.#state === 'running';
  }

  /** What it is doing. */
  getState(): PollerState {
    return this.#state;
  }

  /** How often it has asked. */
  getCycleCount(): number {
    return this.#cycles;
  }

  async #run(stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      const found = await this.#cycle(stopping);
      if (found === 0 && !stopping.aborted) {
        await pause(this.#config.pollIntervalMs, stopping);
      }
    }
    this.#state = 'stopped';
    this.#emitter.emit(PollerEventNames.POLLER_STOPPED, this.#payload(0));
  }

  async #cycle(stopping: AbortSignal): Promise<number> {
    let found = 0;
    try {
      found = await this.#poll(stopping);
    } catch (error) {
      this.#emitter.emit(PollerEventNames.POLLER_ERROR, { error: asError(error) });
    }
    this.#cycles += 1;
    this.#found += found;
    this.#emitter.emit(PollerEventNames.POLLER_CYCLE_COMPLETE, this.#payload(found));
    this.#fruitless = found > 0 ? 0 : this.#fruitless + 1;
    if (this.#fruitless > 0 && this.#fruitless % this.#config.starvationCheckInterval === 0) {
      this.#emitter.emit(PollerEventNames.POLLER_STARVATION_DETECTED, this.#payload(found));
    }
    if (this.#cycles % this.#config.metricsInterval === 0) {
      this.#emitter.emit(MetricsEventNames.METRICS_UPDATED, this.#payload(this.#found));
    }
    return found;
  }

  #payload(eventsFound: number): PollerPayload {
    return { cycleCount: this.#cycles, eventsFound };
  }
}

/** Return a new poller. */
export function createEventPoller(
  poll: PollFunction,
  emitter: TaskerEventEmitter,
  config?: EventPollerConfig,
): EventPoller {
  return new EventPoller(poll, emitter, config);
}

function asError(value: unknown): Error {
  return value instanceof Error ? value : new Error(String(value));
}
