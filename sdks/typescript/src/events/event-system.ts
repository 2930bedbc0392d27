/** The events of one worker: who tells them, and the loop that brings the steps. */

import { TaskerEventEmitter } from './emitter.js';
import { EventPoller, type EventPollerConfig, type PollFunction } from './event-poller.js';

/** How the events of a worker stand. */
export interface EventSystemStats {
  readonly running: boolean;
  /** How often the poller has asked. */
  readonly cycleCount: number;
}

/** An emitter, which is there from the beginning, and a poller, which is there once the worker runs. */
export class EventSystem {
  readonly #emitter = new TaskerEventEmitter();
  #poller: EventPoller | null = null;

  /**
   * Start asking for steps.
   *
   * @param poll asks once; see {@link EventPoller}.
   */
  start(poll: PollFunction, config?: EventPollerConfig): void {
    this.#poller = new EventPoller(poll, this.#emitter, config);
    this.#poller.start();
  }

  /** Stop the poller and wait for it. */
  async stop(): Promise<void> {
    await this.#poller?.stop();
  }

  /** Whether the poller asks for steps. */
  isRunning(): boolean {
    return this.#poller?.isRunning() ?? false;
  }

  /** Where to listen to events. */
  getEmitter(): TaskerEventEmitter {
    return this.#emitter;
  }

  /** The loop that asks for steps; null before it was started. */
  getPoller(): EventPoller | null {
    return this.#poller;
  }

  /** How it stands. */
  getStats(): EventSystemStats {
    return { running: this.isRunning(), cycleCount: this.#poller?.getCycleCount() ?? 0 };
  }
}
