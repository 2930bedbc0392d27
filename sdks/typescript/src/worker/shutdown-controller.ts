/** Stopping in good order, whoever asks for it. */

import { createLogger } from '../logging/index.js';

const log = createLogger({ logger: 'tasker.worker' });

/** Called when a shutdown begins. */
export type ShutdownHandler = () => void | Promise<void>;

/** Says that something is to stop, and calls those who want to know. */
export class ShutdownController {
  #handlers: ShutdownHandler[] = [];
  #signal: string | null = null;
  #resolve: (signal: string) => void = () => {};
  #promise: Promise<string> = Promise.resolve('');

  constructor() {
    this.reset();
  }

  /** Fulfilled with the signal once a shutdown is asked for. */
  get promise(): Promise<string> {
    return this.#promise;
  }

  /** Whether a shutdown was asked for. */
  get isRequested(): boolean {
    return this.#signal !== null;
  }

  /** What asked for it, such as `SIGTERM`; null if nothing did. */
  get signal(): string | null {
    return this.#signal;
  }

  /** Call `handler` when {@link executeHandlers} is called; the last one that was added is called first. */
  onShutdown(handler: ShutdownHandler): void {
    this.#handlers.push(handler);
  }

  /** Ask for a shutdown; asking again has no effect. */
  trigger(signal: string): void {
    if (this.#signal === null) {
      this.#signal = signal;
      this.#resolve(signal);
    }
  }

  /** Call all handlers, one after the other. What one throws is logged and does not keep the others from it. */
  async executeHandlers(): Promise<void> {
    for (const handler of this.#handlers.splice(0).reverse()) {
      try {
        await handler();
      } catch (error) {
        log.error('shutdown_handler_failed', { reason: String(error) });
      }
    }
  }

  /** Forget the handlers and that a shutdown was asked for. */
  reset(): void {
    this.#handlers = [];
    this.#signal = null;
    this.#promise = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }
}
