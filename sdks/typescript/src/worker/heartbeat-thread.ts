/** Renews leases from a thread of its own, so that a handler that blocks the event loop keeps its lease. */

import { parentPort, workerData } from 'node:worker_threads';

import { HttpConnection } from '../client/http.js';
import { WorkerCalls } from './calls.js';
import { AccessRefusedError, WorkerUnknownError } from './errors.js';
import { type LeaseName, LeaseTable } from './lease-table.js';
import { Wake } from './wake.js';

/** Milliseconds between looks at what is held. A lease that two looks find is watched. */
const LOOK_MS = 500;

/** Milliseconds until a heartbeat that failed is sent again. */
const RETRY_MS = 1_000;

/** What the thread is given at the start. */
export interface ThreadData {
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly memory: SharedArrayBuffer;
}

/** What the thread is told. */
export type ThreadOrder =
  | { readonly type: 'registered'; readonly workerId: string; readonly heartbeatMs: number }
  | { readonly type: 'stop' };

/** What the thread tells. */
export type ThreadNews =
  | { readonly type: 'lost'; readonly lost: readonly number[]; readonly cancelled: readonly number[] }
  | { readonly type: 'unknown'; readonly workerId: string }
  | { readonly type: 'refused'; readonly message: string }
  | { readonly type: 'failed'; readonly message: string };

interface Heartbeat {
  readonly watched: ReadonlySet<number>;
  readonly ended: Promise<void>;
  readonly abort: AbortController;
}

class HeartbeatThread {
  readonly #calls: WorkerCalls;
  readonly #connection: HttpConnection;
  readonly #table: LeaseTable;
  readonly #tell: (news: ThreadNews) => void;
  readonly #wake = new Wake();
  #workerId = '';
  #heartbeatMs = LOOK_MS;
  #stopped = false;
  #waiting: Heartbeat | null = null;
  #notBefore = 0;

  constructor(data: ThreadData, tell: (news: ThreadNews) => void) {
    this.#connection = new HttpConnection(data.url, data.headers);
    this.#calls = new WorkerCalls(this.#connection);
    this.#table = new LeaseTable(data.memory);
    this.#tell = tell;
  }

  order(order: ThreadOrder): void {
    if (order.type === 'stop') {
      this.#stopped = true;
    } else {
      this.#workerId = order.workerId;
      this.#heartbeatMs = order.heartbeatMs;
      this.#notBefore = 0;
    }
    this.#waiting?.abort.abort();
    this.#wake.set();
  }

  async run(): Promise<void> {
    let before: ReadonlySet<number> = new Set();
    while (!this.#stopped) {
      const leases = this.#workerId === '' ? [] : this.#table.read();
      const now = new Set(leases.map((lease) => lease.lease_id));
      const steady = leases.filter((lease) => before.has(lease.lease_id));
      before = now;
      if (this.#isDue(steady)) {
        await this.#end();
        this.#begin(steady);
      }
      await this.#wake.wait(Math.min(LOOK_MS, this.#heartbeatMs / 2));
    }
    await this.#end();
    this.#connection.close();
  }

  /** Whether a heartbeat is to be sent: there is something to keep that none under way knows. */
  #isDue(steady: readonly LeaseName[]): boolean {
    if (steady.length === 0 || Date.now() < this.#notBefore) {
      return false;
    }
    const watched = this.#waiting?.watched;
    return watched === undefined || !steady.every((lease) => watched.has(lease.lease_id));
  }

  #begin(leases: readonly LeaseName[]): void {
    const abort = new AbortController();
    const watched = new Set(leases.map((lease) => lease.lease_id));
    const heartbeat: Heartbeat = { watched, abort, ended: this.#renew(this.#workerId, leases, abort.signal) };
    this.#waiting = heartbeat;
    void heartbeat.ended.then(() => {
      if (this.#waiting === heartbeat) {
        this.#waiting = null;
      }
    });
  }

  async #end(): Promise<void> {
    this.#waiting?.abort.abort();
    await this.#waiting?.ended;
    this.#waiting = null;
  }

  async #renew(workerId: string, leases: readonly LeaseName[], signal: AbortSignal): Promise<void> {
    try {
      const answer = await this.#calls.heartbeat(workerId, leases, this.#heartbeatMs / 1000, signal);
      if (answer.lost.length > 0 || answer.cancelled.length > 0) {
        this.#tell({ type: 'lost', lost: ids(answer.lost), cancelled: ids(answer.cancelled) });
      }
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      this.#notBefore = Date.now() + Math.min(RETRY_MS, this.#heartbeatMs);
      this.#tell(newsOf(error as Error, workerId));
    }
  }
}

function newsOf(error: Error, workerId: string): ThreadNews {
  if (error instanceof WorkerUnknownError) {
    return { type: 'unknown', workerId };
  }
  if (error instanceof AccessRefusedError) {
    return { type: 'refused', message: error.message };
  }
  return { type: 'failed', message: error.message };
}

function ids(names: readonly LeaseName[]): number[] {
  return names.map((name) => name.lease_id);
}

const port = parentPort;
if (port !== null) {
  const thread = new HeartbeatThread(workerData as ThreadData, (news) => port.postMessage(news));
  port.on('message', (order: ThreadOrder) => thread.order(order));
  void thread.run().then(() => port.close());
}
