/** Large results that leases left out, kept for other leases. Decides only: it calls nobody. */

import type { FetchedResult } from '../types/fetched-result.js';

interface Kept {
  readonly result: FetchedResult;
  readonly bytes: number;
}

/** Keeps results up to a number of bytes; what was not used for the longest time goes first. */
export class ResultCache {
  readonly #mostBytes: number;
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;

  /** @param mostBytes how long the texts of all results may be together; a longer one is not kept. */
  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  /** Return the result of a key; null if it is not there. */
  get(key: string): FetchedResult | null {
    const kept = this.#kept.get(key);
    if (kept === undefined) {
      return null;
    }
    // The first key of a map is the oldest one.
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept.result;
  }

  /** Keep a result. */
  keep(key: string, result: FetchedResult): void {
    const bytes = Buffer.byteLength(result.text);
    if (bytes > this.#mostBytes) {
      return;
    }
    this.#remove(key);
    this.#kept.set(key, { result, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#mostBytes) {
        return;
      }
      this.#remove(oldest);
    }
  }

  #remove(key: string): void {
    this.#bytes -= this.#kept.get(key)?.bytes ?? 0;
    this.#kept.delete(key);
  }
}
