/** A server of the worker protocol whose every answer a test can decide. */

import * as http from 'node:http';
import type { AddressInfo } from 'node:net';

import type { LeaseItem } from '../../src/wire.js';

export interface Received {
  readonly verb: string;
  readonly method: string;
  readonly url: string;
  readonly workerId: string | null;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
  readonly at: number;
}

export interface Answer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
  /** Cut the connection instead. */
  readonly cut?: boolean;
}

/** Decides an answer; undefined leaves it to the server. */
export type Decision = (call: Received) => Answer | undefined;

interface Result {
  readonly step_uuid: string;
  readonly lease_id: number;
  readonly success?: boolean;
  readonly result?: unknown;
  readonly error?: { readonly error_type: string; readonly message: string; readonly retryable: boolean } | null;
  readonly checkpoint?: unknown;
  readonly metadata?: { readonly custom: Record<string, unknown> };
}

const STEP_UUID = '00000000-0000-7000-8000-';

/** Return the lease of a step that calls `callable`. */
export function leaseOf(
  id: number,
  callable: string,
  more: { context?: object; timeoutSeconds?: number; method?: string; omitted?: string[]; reruns?: number } = {},
): LeaseItem {
  const step_uuid = STEP_UUID + String(id).padStart(12, '0');
  return {
    step_uuid,
    lease_id: id,
    task_uuid: `${STEP_UUID}${'0'.repeat(12)}`,
    attempt: 1,
    task_sequence_step: {
      task: {
        task: { context: { ...more.context } },
        task_name: 'work',
        namespace_name: 'test',
        task_version: '1.0.0',
      },
      workflow_step: { workflow_step_uuid: step_uuid, name: `step-${id}`, attempts: 0, max_attempts: 3 },
      dependency_results: {},
      step_definition: {
        name: `step-${id}`,
        handler: { callable, method: more.method ?? null, initialization: {} },
        timeout_seconds: more.timeoutSeconds ?? null,
      },
    },
    reruns: more.reruns ?? 0,
    omitted_results: more.omitted ?? [],
  };
}

export class FakeServer {
  /** Every call, in the order in which they came. */
  readonly calls: Received[] = [];
  /** Every result that was recorded. */
  readonly recorded: Result[] = [];
  /** The leases that workers hold, by id. */
  readonly held = new Map<number, LeaseItem>();
  /** The results of steps, by name, that leases leave out. */
  readonly results = new Map<string, unknown>();
  /** Leases that were given back. */
  readonly released: number[] = [];
  leaseSeconds = 30;
  heartbeatSeconds = 10;
  readonly #server = http.createServer((request, response) => void this.#answer(request, response));
  readonly #offered: LeaseItem[] = [];
  readonly #lost = new Map<number, 'lost' | 'cancelled'>();
  readonly #decisions: { verb: string; times: number; decide: Decision }[] = [];
  #workers = 0;
  #changed: (() => void)[] = [];
  #port = 0;

  static async start(port = 0): Promise<FakeServer> {
    const server = new FakeServer();
    await server.listen(port);
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  async listen(port: number): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Let workers lease these. */
  offer(...leases: LeaseItem[]): void {
    this.#offered.push(...leases);
    this.#tell();
  }

  /** Take a lease away. */
  lose(id: number, reason: 'lost' | 'cancelled'): void {
    this.#lost.set(id, reason);
    this.held.delete(id);
    this.#tell();
  }

  /** Answer the next calls of a verb as `answer` says. */
  answerNext(verb: string, answer: Answer | Decision, times = 1): void {
    const decide = typeof answer === 'function' ? answer : () => answer;
    this.#decisions.push({ verb, times, decide });
  }

  callsOf(verb: string): Received[] {
    return this.calls.filter((call) => call.verb === verb);
  }

  bodiesOf<Body = Record<string, unknown>>(verb: string): Body[] {
    return this.callsOf(verb).map((call) => JSON.parse(call.text) as Body);
  }

  resultOf(id: number): Result | undefined {
    return this.recorded.find((result) => result.lease_id === id);
  }

  #tell(): void {
    for (const tell of this.#changed.splice(0)) {
      tell();
    }
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const call = await this.#receive(request);
    const gone = new Promise<void>((resolve) => response.on('close', resolve));
    const decision = this.#decisions.find(({ verb, times }) => verb === call.verb && times > 0);
    if (decision !== undefined) {
      decision.times -= 1;
    }
    const answer = decision?.decide(call) ?? { body: await this.#bodyFor(call, gone) };
    if (answer.cut === true) {
      response.destroy();
      return;
    }
    response.writeHead(answer.status ?? 200, { 'content-type': 'application/json', ...answer.headers });
    response.end(JSON.stringify(answer.body ?? {}));
  }

  async #receive(request: http.IncomingMessage): Promise<Received> {
    const parts: Buffer[] = [];
    for await (const part of request) {
      parts.push(part as Buffer);
    }
    const url = request.url ?? '';
    const [, workerId, verb] = /^\/v1\/worker\/(?:([^/]+)\/)?([a-z]+)$/.exec(url) ?? [];
    const call: Received = {
      verb: verb ?? url,
      method: request.method ?? '',
      url,
      workerId: workerId ?? null,
      headers: request.headers,
      text: String(Buffer.concat(parts)),
      at: performance.now(),
    };
    this.calls.push(call);
    return call;
  }

  async #bodyFor(call: Received, gone: Promise<void>): Promise<unknown> {
    const body = (call.text === '' ? {} : parsed(call.text)) as Record<string, unknown>;
    switch (call.verb) {
      case 'register':
        return this.#register(body);
      case 'lease':
        return { leases: await this.#lease(body['limit'] as number, body['wait_seconds'] as number, gone) };
      case 'report':
        return this.#report(body['results'] as Result[], body['lease'] as number);
      case 'heartbeat':
        return await this.#heartbeat(body['leases'] as { lease_id: number }[], body['wait_seconds'] as number, gone);
      case 'recover':
        return { leases: [...this.held.values()] };
      case 'results':
        return { results: this.#results(body['names'] as string[]) };
      case 'release':
        return this.#release(body['leases'] as { lease_id: number }[]);
      default:
        return {};
    }
  }

  #register(body: { worker_id?: string }): unknown {
    this.#workers += body.worker_id === undefined ? 1 : 0;
    return {
      worker_id: body.worker_id ?? `worker-${this.#workers}`,
      lease_seconds: this.leaseSeconds,
      heartbeat_seconds: this.heartbeatSeconds,
      max_wait_seconds: 30,
    };
  }

  async #lease(limit: number, waitSeconds: number, gone: Promise<void>): Promise<LeaseItem[]> {
    let isGone = false;
    void gone.then(() => {
      isGone = true;
    });
    await this.#change(waitSeconds, gone, () => this.#offered.length > 0);
    return isGone ? [] : this.#grant(limit);
  }

  #grant(limit: number): LeaseItem[] {
    const granted = this.#offered.splice(0, limit);
    for (const lease of granted) {
      this.held.set(lease.lease_id, lease);
    }
    return granted;
  }

  #report(results: Result[], want: number): unknown {
    const accepted = results.filter((result) => this.held.delete(result.lease_id));
    const refused = results
      .filter((result) => !accepted.includes(result))
      .map(({ step_uuid, lease_id }) => ({ step_uuid, lease_id, reason: 'lease_lost', detail: null }));
    this.recorded.push(...accepted);
    return { accepted, refused, leases: this.#grant(want), more_ready: this.#offered.length > 0 };
  }

  async #heartbeat(leases: { lease_id: number }[], waitSeconds: number, gone: Promise<void>): Promise<unknown> {
    const taken = () => leases.filter(({ lease_id: id }) => this.#lost.has(id));
    await this.#change(waitSeconds, gone, () => taken().length > 0);
    return {
      renewed: leases.length - taken().length,
      lost: taken().filter(({ lease_id: id }) => this.#lost.get(id) === 'lost'),
      cancelled: taken().filter(({ lease_id: id }) => this.#lost.get(id) === 'cancelled'),
    };
  }

  #results(names: string[]): unknown {
    const envelope = (result: unknown) => ({ success: true, result, status: 'completed', metadata: { custom: {} } });
    return Object.fromEntries(
      names.map((name) => [name, this.results.has(name) ? envelope(this.results.get(name)) : null]),
    );
  }

  #release(leases: { lease_id: number }[]): unknown {
    for (const { lease_id: id } of leases) {
      this.held.delete(id);
      this.released.push(id);
    }
    return { status: 'released' };
  }

  async #change(seconds: number, gone: Promise<void>, happened: () => boolean): Promise<void> {
    let over = false;
    const timer = setTimeout(() => {
      over = true;
      this.#tell();
    }, seconds * 1000);
    void gone.then(() => {
      over = true;
      this.#tell();
    });
    while (!over && !happened()) {
      await new Promise<void>((resolve) => this.#changed.push(resolve));
    }
    clearTimeout(timer);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** Wait until something is so. */
export async function until(what: string, happened: () => boolean, ms = 30_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!happened()) {
    if (performance.now() > deadline) {
      throw new Error(`not within ${ms} ms: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
