/** HTTP as the client and the worker need it: JSON text back and forth over connections that are kept. */

import * as http from 'node:http';
import * as https from 'node:https';

/** Milliseconds that an unused connection is kept; servers keep theirs for longer, so none is used that they closed. */
const IDLE_MS = 60_000;

/** Milliseconds until a connection attempt counts as failed. */
const CONNECT_MS = 5_000;

/** An answer, whatever its status. */
export interface HttpAnswer {
  readonly status: number;
  readonly reason: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

/** What to send. */
export interface HttpRequest {
  readonly method: string;
  /** Path and query, below the base URL. */
  readonly path: string;
  readonly body?: string | undefined;
  /** `application/json` by default. */
  readonly contentType?: string | undefined;
  /** Milliseconds until the whole request counts as failed. */
  readonly timeoutMs: number;
  /** Ends the request early, which then counts as failed. */
  readonly signal?: AbortSignal | undefined;
}

/** No answer came: not connected, cut off, too late, or ended by the caller. */
export class NoAnswerError extends Error {
  override name = 'NoAnswerError';
}

/** Connections to one server. */
export class HttpConnection {
  readonly url: string;
  readonly #base: URL;
  readonly #agent: http.Agent;
  readonly #request: typeof http.request;
  readonly #headers: Record<string, string>;

  /**
   * @param url base URL of the server; a path in it is kept.
   * @param headers sent with each request.
   * @throws TypeError if the URL is none, or neither `http` nor `https`.
   */
  constructor(url: string, headers: Record<string, string> = {}) {
    this.#base = new URL(url);
    if (this.#base.protocol !== 'http:' && this.#base.protocol !== 'https:') {
      throw new TypeError(`${url} is not a URL that begins with http:// or https://`);
    }
    this.url = url.replace(/\/+$/, '');
    const secure = this.#base.protocol === 'https:';
    const options = { keepAlive: true, timeout: IDLE_MS, scheduling: 'lifo' } as const;
    this.#agent = secure ? new https.Agent(options) : new http.Agent(options);
    this.#request = secure ? https.request : http.request;
    this.#headers = headers;
  }

  /**
   * Send a request and return the whole answer.
   *
   * @throws NoAnswerError if none came.
   */
  send(wanted: HttpRequest): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const body = wanted.body === undefined ? undefined : Buffer.from(wanted.body);
      const request = this.#request({
        protocol: this.#base.protocol,
        hostname: this.#base.hostname.replace(/^\[|\]$/g, ''),
        port: this.#base.port,
        path: this.#base.pathname.replace(/\/+$/, '') + wanted.path,
        method: wanted.method,
        agent: this.#agent,
        headers: { ...this.#headers, ...bodyHeaders(body, wanted) },
      });
      const timers = [setTimeout(() => end(`no answer within ${wanted.timeoutMs} ms`), wanted.timeoutMs)];
      const onAbort = () => end('ended by the caller');
      const settle = () => {
        timers.forEach((timer) => clearTimeout(timer));
        wanted.signal?.removeEventListener('abort', onAbort);
      };
      const fail = (error: Error) => {
        settle();
        reject(
          error instanceof NoAnswerError ? error : new NoAnswerError(`no answer from ${this.url}: ${told(error)}`),
        );
      };
      const end = (reason: string) => request.destroy(new NoAnswerError(`no answer from ${this.url}: ${reason}`));

      request.on('socket', (socket) => {
        if (socket.connecting) {
          const limit = setTimeout(() => end(`not connected within ${CONNECT_MS} ms`), CONNECT_MS);
          timers.push(limit);
          socket.once('connect', () => clearTimeout(limit));
        }
      });
      request.on('response', (response) => {
        readAnswer(response).then((answer) => {
          settle();
          resolve(answer);
        }, fail);
      });
      request.on('error', fail);
      if (wanted.signal?.aborted) {
        onAbort();
        return;
      }
      wanted.signal?.addEventListener('abort', onAbort);
      request.end(body);
    });
  }

  /** Close all connections. */
  close(): void {
    this.#agent.destroy();
  }
}

async function readAnswer(response: http.IncomingMessage): Promise<HttpAnswer> {
  const parts: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    response.on('data', (part: Buffer) => parts.push(part));
    response.on('error', reject);
    response.on('end', resolve);
    response.on('close', () => reject(new Error('the answer was cut off')));
  });
  return {
    status: response.statusCode ?? 0,
    reason: response.statusMessage ?? '',
    headers: response.headers,
    text: String(parts.length === 1 ? parts[0] : Buffer.concat(parts)),
  };
}

/**
 * Return how many seconds an answer asks to wait, by its header `Retry-After`: seconds or an HTTP date.
 *
 * @returns null if it does not say.
 */
export function retryAfterSeconds(answer: HttpAnswer, now: number = Date.now()): number | null {
  const value = answer.headers['retry-after']?.trim();
  if (!value) {
    return null;
  }
  const seconds = /^\d+(\.\d+)?$/.test(value) ? Number(value) : (Date.parse(value) - now) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

/** What an answer that is an error says. */
export interface ErrorAnswer {
  readonly code: string;
  readonly message: string;
  readonly details: unknown;
}

/** Return the error that an answer carries, or what its status says if it carries none. */
export function errorIn(answer: HttpAnswer): ErrorAnswer {
  try {
    const { code, message, details } = (JSON.parse(answer.text) as { error: Record<string, unknown> }).error;
    if (code !== undefined && message !== undefined) {
      return { code: String(code), message: String(message), details: details ?? null };
    }
  } catch {
    // Not ours, such as a proxy's page.
  }
  return { code: answer.reason, message: answer.text.slice(0, 200), details: null };
}

function bodyHeaders(body: Buffer | undefined, wanted: HttpRequest): Record<string, string> {
  if (body === undefined) {
    return wanted.method === 'GET' ? {} : { 'content-length': '0' };
  }
  return { 'content-type': wanted.contentType ?? 'application/json', 'content-length': String(body.length) };
}

function told(error: Error): string {
  return error.message || (error as NodeJS.ErrnoException).code || error.name;
}
