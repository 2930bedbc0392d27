/** Fetches the results that leases leave out, each once for all leases that want it. */

import { type FetchedResult, ResultUnavailableError } from '../types/fetched-result.js';
import type { LeaseItem } from '../wire.js';
import type { WorkerCalls } from './calls.js';
import { RequestRefusedError, ServerUnavailableError, WorkerUnknownError } from './errors.js';
import { ResultCache } from './result-cache.js';
import { Backoff, pause } from './wake.js';

/** How long the results that are kept may be together, in bytes. */
const CACHE_BYTES = 64 * 1024 * 1024;

/** The status of an answer that says that a lease is lost. */
const CONFLICT = 409;

/** Instead of an answer: the call is to be repeated by those who still want it. */
const AGAIN = Symbol('again');

/** The worker that a fetcher fetches for. */
export interface FetcherHost {
  /** Its id; null while it has none. */
  readonly id: string | null;
  /** The server says that a lease is lost. */
  lost(leaseId: number): void;
  /** The server cannot be reached. */
  unavailable(duty: string, error: ServerUnavailableError): void;
  /** The server does not know the worker of this id. */
  unknown(workerId: string): void;
}

/** Gets results from the server, or from those that it got before. */
export class ResultFetcher {
  readonly #host: FetcherHost;
  readonly #calls: WorkerCalls;
  readonly #cache = new ResultCache(CACHE_BYTES);
  readonly #underWay = new Map<string, Promise<FetchedResult | null | typeof AGAIN>>();
  readonly #backoff = new Backoff();
  readonly #stopped = new AbortController();

  constructor(host: FetcherHost, calls: WorkerCalls) {
    this.#host = host;
    this.#calls = calls;
  }

  /**
   * Return the results that a lease leaves out, as soon as the server can be reached.
   *
   * @throws ResultUnavailableError if the server refuses one; the signal's reason if it aborts before all are there.
   */
  async fetch(lease: LeaseItem, signal: AbortSignal): Promise<FetchedResult[]> {
    const found: FetchedResult[] = [];
    for (const name of lease.omitted_results ?? []) {
      const result = await this.#fetchOne(lease, name, signal);
      if (result !== null) {
        found.push(result);
      }
    }
    return found;
  }

  /** Fetch no more. */
  stop(): void {
    this.#stopped.abort();
  }

  async #fetchOne(lease: LeaseItem, name: string, signal: AbortSignal): Promise<FetchedResult | null> {
    for (;;) {
      signal.throwIfAborted();
      const answer = this.#cache.get(resultKey(lease, name)) ?? (await this.#ask(lease, name));
      if (answer !== AGAIN) {
        return answer;
      }
    }
  }

  /** Ask the server, or wait for the answer that another lease asked for. */
  #ask(lease: LeaseItem, name: string): Promise<FetchedResult | null | typeof AGAIN> {
    const key = resultKey(lease, name);
    let call = this.#underWay.get(key);
    if (call === undefined) {
      call = this.#call(lease, name).finally(() => this.#underWay.delete(key));
      this.#underWay.set(key, call);
    }
    return call;
  }

  async #call(lease: LeaseItem, name: string): Promise<FetchedResult | null | typeof AGAIN> {
    const workerId = this.#host.id ?? '';
    try {
      const result = await this.#calls.result(workerId, lease, name, this.#stopped.signal);
      this.#backoff.reset();
      if (result !== null) {
        this.#cache.keep(resultKey(lease, name), result);
      }
      return result;
    } catch (error) {
      return await this.#failed(lease, name, workerId, error as Error);
    }
  }

  async #failed(lease: LeaseItem, name: string, workerId: string, error: Error): Promise<typeof AGAIN> {
    if (error instanceof WorkerUnknownError) {
      this.#host.unknown(workerId);
    } else if (error instanceof RequestRefusedError && error.status === CONFLICT) {
      this.#host.lost(lease.lease_id);
    } else if (error instanceof ServerUnavailableError && !this.#stopped.signal.aborted) {
      this.#host.unavailable('results', error);
      await pause(this.#backoff.next(error.retryAfterSeconds), this.#stopped.signal);
    } else {
      throw new ResultUnavailableError(`the result of step '${name}' cannot be fetched: ${error.message}`);
    }
    return AGAIN;
  }
}

/** Tells results apart. That of a step is another one once its task was re-run, and only then. */
function resultKey(lease: LeaseItem, name: string): string {
  return JSON.stringify([lease.task_uuid ?? lease.step_uuid, lease.reruns ?? 0, name]);
}
