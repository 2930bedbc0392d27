import { isObject } from '../types/values.js';
import type { JsonObject } from '../wire.js';

/** Seconds to wait if a server sends a `Retry-After` that is no number. */
const UNREADABLE_RETRY_AFTER = 60;

/** A response of an HTTP API, read to its end. */
export class ApiResponse {
  readonly statusCode: number;
  /** With keys in lower case. */
  readonly headers: Record<string, string>;
  /** The parsed JSON if that is the content type, else the text. */
  readonly body: unknown;
  readonly rawResponse: Response;

  constructor(response: Response, body: unknown) {
    this.statusCode = response.status;
    this.headers = Object.fromEntries(response.headers.entries());
    this.body = body;
    this.rawResponse = response;
  }

  /** Reads a response of `fetch`; a body that claims to be JSON and is not stays text. */
  static async read(response: Response): Promise<ApiResponse> {
    const text = await response.text();
    const isJson = (response.headers.get('content-type') ?? '').includes('application/json');
    return new ApiResponse(response, isJson ? parsed(text) : text);
  }

  /** Whether the status is 2xx. */
  get ok(): boolean {
    return this.statusCode >= 200 && this.statusCode < 300;
  }

  /** Whether the status is 4xx. */
  get isClientError(): boolean {
    return this.statusCode >= 400 && this.statusCode < 500;
  }

  /** Whether the status is 5xx. */
  get isServerError(): boolean {
    return this.statusCode >= 500 && this.statusCode < 600;
  }

  /** Whether the same request may work later: 408, 429 and 5xx. */
  get isRetryable(): boolean {
    return this.statusCode === 408 || this.statusCode === 429 || this.isServerError;
  }

  /** Seconds that the server asks to wait, 60 if that is unreadable, null if it does not ask. */
  get retryAfter(): number | null {
    const value = this.headers['retry-after'];
    if (value === undefined) return null;
    const seconds = Number.parseInt(value, 10);
    return Number.isNaN(seconds) ? UNREADABLE_RETRY_AFTER : seconds;
  }

  /** The response as an object with the keys `status_code`, `headers` and `body`. */
  toDict(): JsonObject {
    return { status_code: this.statusCode, headers: this.headers, body: this.body };
  }
}

const ERROR_TYPES: Readonly<Record<number, string>> = {
  400: 'bad_request',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  405: 'method_not_allowed',
  408: 'request_timeout',
  409: 'conflict',
  410: 'gone',
  422: 'unprocessable_entity',
  429: 'rate_limited',
  500: 'internal_server_error',
  502: 'bad_gateway',
  503: 'service_unavailable',
  504: 'gateway_timeout',
};

/** The error type of a response, such as `not_found`. */
export function errorTypeOf(response: ApiResponse): string {
  const known = ERROR_TYPES[response.statusCode];
  if (known !== undefined) return known;
  if (response.isClientError) return 'client_error';
  return response.isServerError ? 'server_error' : 'http_error';
}

/** What a response says about its error: a text in its body, else its reason phrase. */
export function errorDetailOf(response: ApiResponse): string {
  if (isObject(response.body)) {
    for (const key of ['error', 'message', 'detail', 'error_message', 'msg']) {
      const value = response.body[key];
      if (typeof value === 'string') return value;
      if (isObject(value) && typeof value['message'] === 'string') return value['message'];
    }
  }
  return response.rawResponse.statusText || 'Unknown error';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
