/** What a worker holds, and how much more it may take. Decides only: it calls nobody and knows no time. */

import type { LeaseItem } from '../wire.js';

/** Lease ids that are remembered once they are over, so that an answer that is late does not start them again. */
const REMEMBERED = 10_000;

/** How an attempt ended; `refused` is a failure that stands for a result which the server cannot record. */
export type EndingKind = 'succeeded' | 'failed' | 'checkpoint' | 'refused';

/** What is to be reported for a step. */
export interface Ending {
  readonly kind: EndingKind;
  /** The result as JSON. */
  readonly text: string;
  /** How long the text is. */
  readonly bytes: number;
}

/** A step that the worker holds. */
export interface Attempt {
  readonly lease: LeaseItem;
  /** What is to be reported; null while the handler runs. */
  ending: Ending | null;
}

/** A step that the worker holds and whose handler has ended. */
export type EndedAttempt = Attempt & { readonly ending: Ending };

/** What became of steps that the server granted. */
export interface Admission {
  /** Those to start now. */
  readonly started: LeaseItem[];
  /** Those that there is no slot for; to be given back. */
  readonly excess: LeaseItem[];
}

/** The slots of a worker. A step takes one up from its grant until the server has its result. */
export class Slots {
  readonly concurrency: number;
  readonly #attempts = new Map<number, Attempt>();
  readonly #over = new Set<number>();
  #ended: EndedAttempt[] = [];
  #promised = 0;

  /** @param concurrency how many steps may be held at once. */
  constructor(concurrency: number) {
    if (!Number.isInteger(concurrency) || concurrency < 1) {
      throw new RangeError(`concurrency must be a whole number from 1, not ${concurrency}`);
    }
    this.concurrency = concurrency;
  }

  /** Steps that may be asked for. */
  get free(): number {
    return Math.max(0, this.concurrency - this.#attempts.size - this.#promised);
  }

  /** Steps that are held. */
  get held(): number {
    return this.#attempts.size;
  }

  /** Results that wait to be reported. */
  get waiting(): number {
    return this.#ended.length;
  }

  /** Reserve slots for what a call under way may bring. */
  promise(count: number): void {
    this.#promised += count;
  }

  /** End a reservation, before what the call brought is admitted. */
  unpromise(count: number): void {
    this.#promised -= count;
  }

  /** Take in granted steps; those that are held already, or were before, are passed over. */
  admit(leases: readonly LeaseItem[]): Admission {
    const started: LeaseItem[] = [];
    const excess: LeaseItem[] = [];
    for (const lease of leases) {
      if (this.#attempts.has(lease.lease_id) || this.#over.has(lease.lease_id)) {
        continue;
      }
      if (this.#attempts.size < this.concurrency) {
        this.#attempts.set(lease.lease_id, { lease, ending: null });
        started.push(lease);
      } else {
        excess.push(lease);
      }
    }
    return { started, excess };
  }

  /** Whether a step is held and has no result yet. */
  runs(leaseId: number): boolean {
    return this.#attempts.get(leaseId)?.ending === null;
  }

  /** The steps that have no result yet. */
  running(): LeaseItem[] {
    return [...this.#attempts.values()].filter(({ ending }) => ending === null).map(({ lease }) => lease);
  }

  /** Whether a step is held. */
  knows(leaseId: number): boolean {
    return this.#attempts.has(leaseId);
  }

  /** The lease ids of all steps that are held. */
  ids(): number[] {
    return [...this.#attempts.keys()];
  }

  /** Keep an ending until it is reported; a later one replaces it. Returns whether the step is held. */
  end(leaseId: number, ending: Ending): boolean {
    const attempt = this.#attempts.get(leaseId);
    if (attempt === undefined) {
      return false;
    }
    attempt.ending = ending;
    this.#ended.push({ lease: attempt.lease, ending });
    return true;
  }

  /**
   * Take the results to report next, the oldest first.
   *
   * @param most how many at most.
   * @param mostBytes how long they may be together; one is always taken, however long it is.
   */
  takeEnded(most: number, mostBytes: number): EndedAttempt[] {
    let count = 0;
    let bytes = 0;
    for (const { ending } of this.#ended.slice(0, most)) {
      bytes += ending.bytes;
      if (count > 0 && bytes > mostBytes) {
        break;
      }
      count += 1;
    }
    return this.#ended.splice(0, count);
  }

  /** Put results back that could not be reported, to be reported before the others. */
  putBack(batch: readonly EndedAttempt[]): void {
    this.#ended = [...batch.filter(({ lease }) => this.#attempts.has(lease.lease_id)), ...this.#ended];
  }

  /** Free the slots of steps that are over, or lost. Returns those that were held and have no result. */
  forget(leaseIds: readonly number[]): LeaseItem[] {
    const running: LeaseItem[] = [];
    for (const id of leaseIds) {
      const attempt = this.#attempts.get(id);
      if (attempt === undefined) {
        continue;
      }
      this.#attempts.delete(id);
      this.#remember(id);
      if (attempt.ending === null) {
        running.push(attempt.lease);
      }
    }
    const ids = new Set(leaseIds);
    this.#ended = this.#ended.filter(({ lease }) => !ids.has(lease.lease_id));
    return running;
  }

  #remember(leaseId: number): void {
    this.#over.add(leaseId);
    if (this.#over.size > REMEMBERED) {
      for (const oldest of this.#over) {
        this.#over.delete(oldest);
        break;
      }
    }
  }
}
