/** The calls of the worker protocol. */

import {
  errorIn,
  type HttpAnswer,
  type HttpConnection,
  type HttpRequest,
  NoAnswerError,
  retryAfterSeconds,
} from '../client/http.js';
import { FetchedResult } from '../types/fetched-result.js';
import type { LeaseItem } from '../wire.js';
import { AccessRefusedError, RequestRefusedError, ServerUnavailableError, WorkerUnknownError } from './errors.js';
import type { LeaseName } from './lease-table.js';

/** Milliseconds until a call counts as failed, beyond the time that it asks the server to wait. */
const CALL_MS = 15_000;

/** Milliseconds for saying goodbye. */
const DEREGISTER_MS = 5_000;

const TEMPORARY = new Set([408, 425, 429]);
const WRONG = new Set([400, 409, 413, 415, 422]);

/** What a worker says about itself. */
export interface Registration {
  readonly name: string;
  readonly callables: readonly string[];
  /** Where to take steps from; null is everywhere. */
  readonly namespaces: readonly string[] | null;
  readonly concurrency: number;
  readonly sdk: string;
  readonly hostname: string;
  readonly pid: number;
  readonly lazy_results: true;
  /** The id that the worker has, to change its registration. */
  readonly worker_id?: string;
}

/** What the server says to that. */
export interface Registered {
  readonly worker_id: string;
  readonly lease_seconds: number;
  readonly heartbeat_seconds: number;
  readonly max_wait_seconds: number;
}

/** A result that the server did not record. */
export interface Refusal {
  readonly step_uuid: string | null;
  readonly lease_id: number | null;
  readonly reason: string;
  readonly detail?: string | null;
}

/** What became of reported results. */
export interface ReportAnswer {
  readonly refused: readonly Refusal[];
  readonly leases: readonly LeaseItem[];
  readonly more_ready: boolean;
}

/** What became of renewed leases. */
export interface HeartbeatAnswer {
  readonly lost: readonly LeaseName[];
  readonly cancelled: readonly LeaseName[];
}

/**
 * Speaks the worker protocol with one server.
 *
 * All calls throw ServerUnavailableError, WorkerUnknownError, AccessRefusedError or RequestRefusedError.
 */
export class WorkerCalls {
  readonly #connection: HttpConnection;

  constructor(connection: HttpConnection) {
    this.#connection = connection;
  }

  /** The server's base URL. */
  get url(): string {
    return this.#connection.url;
  }

  /** Register, or change a registration. */
  register(registration: Registration): Promise<Registered> {
    return this.#call('/v1/worker/register', JSON.stringify(registration), CALL_MS);
  }

  /** Ask for steps; waits on the server for up to `waitSeconds`. */
  async lease(workerId: string, limit: number, waitSeconds: number, signal: AbortSignal): Promise<LeaseItem[]> {
    const body = JSON.stringify({ limit: Math.min(limit, 1000), wait_seconds: waitSeconds });
    const answer = await this.#call<{ leases: LeaseItem[] }>(
      path(workerId, 'lease'),
      body,
      CALL_MS + waitSeconds * 1000,
      signal,
    );
    return answer.leases;
  }

  /** Report results, each as JSON text, and ask for `lease` of the steps that they freed. */
  report(workerId: string, results: readonly string[], lease: number): Promise<ReportAnswer> {
    const body = `{"results":[${results.join(',')}],"lease":${Math.min(lease, 1000)}}`;
    return this.#call(path(workerId, 'report'), body, CALL_MS);
  }

  /** Renew leases; waits on the server until one is lost, for up to `waitSeconds`. */
  heartbeat(
    workerId: string,
    leases: readonly LeaseName[],
    waitSeconds: number,
    signal: AbortSignal,
  ): Promise<HeartbeatAnswer> {
    const body = JSON.stringify({ leases, wait_seconds: waitSeconds });
    return this.#call(path(workerId, 'heartbeat'), body, CALL_MS + waitSeconds * 1000, signal);
  }

  /** Return all steps that the server holds leased to the worker. */
  async recover(workerId: string): Promise<LeaseItem[]> {
    return (await this.#call<{ leases: LeaseItem[] }>(path(workerId, 'recover'), '{}', CALL_MS)).leases;
  }

  /** Return the result of a step before a leased one; null if that step left none. */
  async result(workerId: string, lease: LeaseName, name: string, signal: AbortSignal): Promise<FetchedResult | null> {
    const { step_uuid, lease_id } = lease;
    const body = JSON.stringify({ step_uuid, lease_id, names: [name] });
    const request = { method: 'POST', path: path(workerId, 'results'), body, timeoutMs: CALL_MS, signal };
    const { text } = await successful(this.#connection, request);
    return readable(this.url, () => FetchedResult.ofAnswer(text, name));
  }

  /** Give steps back that were not started. */
  async release(workerId: string, leases: readonly LeaseName[]): Promise<void> {
    const names = leases.map(({ step_uuid, lease_id }) => ({ step_uuid, lease_id }));
    await this.#call(path(workerId, 'release'), JSON.stringify({ leases: names }), CALL_MS);
  }

  /** Leave; gives back all that is still held. */
  async deregister(workerId: string): Promise<void> {
    await this.#call(path(workerId, 'deregister'), '{}', DEREGISTER_MS);
  }

  async #call<Answer>(target: string, body: string, timeoutMs: number, signal?: AbortSignal): Promise<Answer> {
    return await readAnswer<Answer>(this.#connection, { method: 'POST', path: target, body, timeoutMs, signal });
  }
}

/**
 * Send a request and return what the answer holds.
 *
 * @throws ServerUnavailableError, WorkerUnknownError, AccessRefusedError or RequestRefusedError.
 */
export async function readAnswer<Answer>(connection: HttpConnection, request: HttpRequest): Promise<Answer> {
  const { text } = await successful(connection, request);
  return readable(connection.url, () => JSON.parse(text) as Answer);
}

async function successful(connection: HttpConnection, request: HttpRequest): Promise<HttpAnswer> {
  let answer: HttpAnswer;
  try {
    answer = await connection.send(request);
  } catch (error) {
    if (error instanceof NoAnswerError) {
      throw new ServerUnavailableError(error.message);
    }
    throw error;
  }
  if (answer.status !== 200) {
    throw failure(connection.url + request.path, answer);
  }
  return answer;
}

function readable<Value>(url: string, read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    throw new ServerUnavailableError(`the answer of ${url} cannot be read: ${(error as Error).message}`);
  }
}

function failure(url: string, answer: HttpAnswer): Error {
  const { code, message, details } = errorIn(answer);
  const told = `${url} answered ${answer.status} ${code}: ${message}${detailsText(details)}`;
  if (code === 'WORKER_UNKNOWN') {
    return new WorkerUnknownError(told);
  }
  if (TEMPORARY.has(answer.status) || answer.status >= 500) {
    return new ServerUnavailableError(told, retryAfterSeconds(answer));
  }
  if (WRONG.has(answer.status)) {
    return new RequestRefusedError(told, answer.status);
  }
  return new AccessRefusedError(told, answer.status);
}

function detailsText(details: unknown): string {
  if (!Array.isArray(details) || details.length === 0) {
    return '';
  }
  const messages = details.map((detail: unknown) => {
    const { field, message } = (detail ?? {}) as { field?: unknown; message?: unknown };
    return [field, message].filter((part) => part !== undefined && part !== null).join(': ');
  });
  return ` (${messages.join('; ')})`;
}

function path(workerId: string, verb: string): string {
  return `/v1/worker/${encodeURIComponent(workerId)}/${verb}`;
}
