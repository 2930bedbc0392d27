/** Tells listeners what happens in a worker. */

import { EventEmitter } from 'node:events';

import { logError } from '../logging/index.js';
import type { EventPayloads } from './payloads.js';

/** Called with what an event carries. */
export type EventListener<Name extends keyof EventPayloads> = (payload: EventPayloads[Name]) => void;

/** A typed event emitter. What a listener throws is logged and goes no further: listeners must not stop a worker. */
export class TaskerEventEmitter {
  readonly #emitter = new EventEmitter();

  constructor() {
    this.#emitter.setMaxListeners(0);
  }

  /** Call `listener` for each event of this name. */
  on<Name extends keyof EventPayloads>(name: Name, listener: EventListener<Name>): this {
    this.#emitter.on(name, listener);
    return this;
  }

  /** Call `listener` for the next event of this name. */
  once<Name extends keyof EventPayloads>(name: Name, listener: EventListener<Name>): this {
    this.#emitter.once(name, listener);
    return this;
  }

  /** Call `listener` no more. */
  off<Name extends keyof EventPayloads>(name: Name, listener: EventListener<Name>): this {
    this.#emitter.off(name, listener);
    return this;
  }

  /** Forget all listeners, or those of one event. */
  removeAllListeners(name?: keyof EventPayloads): this {
    this.#emitter.removeAllListeners(name);
    return this;
  }

  /** How many listeners an event has. */
  listenerCount(name: keyof EventPayloads): number {
    return this.#emitter.listenerCount(name);
  }

  /** Tell an event. Returns whether anybody listened. */
  emit<Name extends keyof EventPayloads>(name: Name, payload: EventPayloads[Name]): boolean {
    // The raw ones, so that those of `once` remove themselves.
    const listeners = this.#emitter.rawListeners(name) as EventListener<Name>[];
    for (const listener of listeners) {
      try {
        listener.call(this, payload);
      } catch (error) {
        logError('listener_failed', { logger: 'tasker.events', listens_to: name, reason: String(error) });
      }
    }
    return listeners.length > 0;
  }
}
