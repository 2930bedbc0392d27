/** The events of one worker: who tells them, and the loop that brings the steps. */

import { TaskerEventEmitter } from './emitter.js';
import { EventPoller, type EventPollerConfig, type PollFunction } from './event-poller.js';

/** How the events of a worker stand. */
export interface EventSystemStats {
  readonly running: boolean;
  /** How often the poller has asked. */
  readonly cycleCount: number;
}

/** An emitter and a poller that belong together. */
export class EventSystem {
  readonly #emitter = new TaskerEventEmitter();
  readonly #poller: EventPoller;

  /** @param poll asks for steps once; see {@link EventPoller}. */
  constructor(poll: PollFunction, config?: EventPollerConfig) {
    this.#poller = new EventPoller(poll, this.#emitter, config);
  }

  /** Start the poller. */
  start(): void {
    this.#poller.start();
  }

  /** Stop the poller and wait for it. */
  stop(): Promise<void> {
    return this.#poller.stop();
  }

  /** Whether the poller asks for steps. */
  isRunning(): boolean {
    return this.#poller.isRunning();
  }

  /** Where to listen to events. */
  getEmitter(): TaskerEventEmitter {
    return this.#emitter;
  }

  /** The loop that asks for steps. */
  getPoller(): EventPoller {
    return this.#poller;
  }

  /** How it stands. */
  getStats(): EventSystemStats {
    return { running: this.isRunning(), cycleCount: this.#poller.getCycleCount() };
  }
}
