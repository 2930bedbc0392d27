/** Waiting for something that may happen, or for a time to pass. */

/** Something that somebody, one at a time, waits for; what happens before somebody waits is not lost. */
export class Wake {
  #happened = false;
  #resolve: (() => void) | null = null;

  /** Say that it happened. */
  set(): void {
    this.#happened = true;
    this.#resolve?.();
  }

  /**
   * Wait until it happens, at most `ms` milliseconds.
   *
   * @returns whether it did.
   */
  async wait(ms: number): Promise<boolean> {
    if (!this.#happened) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#resolve = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#resolve = null;
    }
    const happened = this.#happened;
    this.#happened = false;
    return happened;
  }
}

/** Times between tries: doubling, a little at random, and never shorter than asked for. */
export class Backoff {
  readonly #firstMs: number;
  readonly #lastMs: number;
  readonly #random: () => number;
  #failures = 0;

  /**
   * @param firstMs pause after the first failure.
   * @param lastMs longest pause.
   * @param random returns a number from 0 to 1.
   */
  constructor(firstMs = 250, lastMs = 2_000, random: () => number = Math.random) {
    this.#firstMs = firstMs;
    this.#lastMs = lastMs;
    this.#random = random;
  }

  /** Return the pause after another failure, in milliseconds. */
  next(retryAfterSeconds: number | null = null): number {
    const pause = Math.min(this.#firstMs * 2 ** Math.min(this.#failures, 20), this.#lastMs);
    this.#failures += 1;
    return Math.max((retryAfterSeconds ?? 0) * 1000, pause * (0.8 + 0.4 * this.#random()));
  }

  /** Begin with the first pause again. */
  reset(): void {
    this.#failures = 0;
  }
}

/** Wait for `ms` milliseconds, or until the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
