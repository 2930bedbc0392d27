/** Keeps the leases of held steps alive, by a thread of its own. */

import { Worker } from 'node:worker_threads';

import { createLogger } from '../logging/index.js';
import type { ThreadData, ThreadNews, ThreadOrder } from './heartbeat-thread.js';
import { type LeaseName, LeaseTable } from './lease-table.js';

/** Milliseconds until a thread that died is started again. */
const RESTART_MS = 1_000;

const log = createLogger({ logger: 'tasker.worker' });

/** Who is told what becomes of leases. */
export interface LeaseWatcher {
  /** These leases are not ours any more. */
  lost(leaseIds: readonly number[], reason: 'lost' | 'cancelled'): void;
  /** The server does not know the worker of this id. */
  unknown(workerId: string): void;
  /** The server does not let the worker in. */
  refused(message: string): void;
}

/** Renews leases until they are removed. */
export class LeaseKeeper {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #table: LeaseTable;
  readonly #watcher: LeaseWatcher;
  #thread: Worker | null = null;
  #registered: ThreadOrder | null = null;
  #restart: NodeJS.Timeout | null = null;
  #stopped = false;

  /**
   * @param url base URL of the server.
   * @param headers sent with each heartbeat.
   * @param rows how many leases there may be at once.
   */
  constructor(url: string, headers: Record<string, string>, rows: number, watcher: LeaseWatcher) {
    this.#url = url;
    this.#headers = headers;
    this.#table = new LeaseTable(rows);
    this.#watcher = watcher;
  }

  /** Start renewing. */
  start(): void {
    const data: ThreadData = { url: this.#url, headers: this.#headers, memory: this.#table.memory };
    const thread = new Worker(new URL('./heartbeat-thread.js', import.meta.url), { workerData: data });
    thread.on('message', (news: ThreadNews) => this.#hear(news));
    thread.on('error', (error) => log.error('heartbeat_failed', { reason: String(error) }));
    thread.on('exit', () => this.#exited(thread));
    // The worker's own calls keep the process alive, and nothing else should.
    thread.unref();
    this.#thread = thread;
    if (this.#registered !== null) {
      thread.postMessage(this.#registered);
    }
  }

  /** Renew for the worker of this id from now on, every `heartbeatMs` milliseconds. */
  registered(workerId: string, heartbeatMs: number): void {
    this.#registered = { type: 'registered', workerId, heartbeatMs };
    this.#thread?.postMessage(this.#registered);
  }

  /** Keep a lease. Takes effect even if the event loop is blocked right after. */
  add(lease: LeaseName): void {
    this.#table.add(lease);
  }

  /** Keep a lease no longer. */
  remove(leaseId: number): void {
    this.#table.remove(leaseId);
  }

  /** Renew no more, and wait for the thread. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#restart !== null) {
      clearTimeout(this.#restart);
    }
    const thread = this.#thread;
    if (thread === null) {
      return;
    }
    const ended = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
    thread.ref();
    thread.postMessage({ type: 'stop' } satisfies ThreadOrder);
    await ended;
  }

  #exited(thread: Worker): void {
    if (this.#thread === thread) {
      this.#thread = null;
    }
    if (!this.#stopped) {
      this.#restart = setTimeout(() => this.start(), RESTART_MS);
    }
  }

  #hear(news: ThreadNews): void {
    switch (news.type) {
      case 'lost':
        this.#watcher.lost(news.lost, 'lost');
        this.#watcher.lost(news.cancelled, 'cancelled');
        return;
      case 'unknown':
        this.#watcher.unknown(news.workerId);
        return;
      case 'refused':
        this.#watcher.refused(news.message);
        return;
      case 'failed':
        log.warn('heartbeat_failed', { reason: news.message });
    }
  }
}
