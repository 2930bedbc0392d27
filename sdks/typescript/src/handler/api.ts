import { ErrorType } from '../types/error-type.js';
import { StepHandlerResult } from '../types/step-handler-result.js';
import { isObject } from '../types/values.js';
import type { JsonObject } from '../wire.js';
import { ApiResponse, errorDetailOf, errorTypeOf } from './api-response.js';
import { StepHandler } from './step-handler.js';

/** Names and values of a URL's query; null and undefined ones are left out. */
export type QueryParams = Record<string, unknown>;

/** What is sent with a request. */
export interface RequestBody {
  /** Sent as JSON unless `json` is false; nothing is sent for an empty one. */
  body?: unknown;
  /** True by default. */
  json?: boolean;
  headers?: Record<string, string>;
}

/** The query and headers of a request, as one argument. */
export interface RequestOptions {
  params?: QueryParams;
  headers?: Record<string, string>;
}

/** The methods of handlers that call an HTTP API. */
export interface APICapable {
  /** Sends GET; the second argument is the query, or `{ params, headers }`. */
  get(path: string, params?: QueryParams | RequestOptions, headers?: Record<string, string>): Promise<ApiResponse>;
  /** Sends POST. */
  post(path: string, options?: RequestBody): Promise<ApiResponse>;
  /** Sends PUT. */
  put(path: string, options?: RequestBody): Promise<ApiResponse>;
  /** Sends PATCH. */
  patch(path: string, options?: RequestBody): Promise<ApiResponse>;
  /** Sends DELETE. */
  delete(path: string, headers?: Record<string, string>): Promise<ApiResponse>;
  /** Sends any request to `baseUrl + path`; rejects if there is no response, or none in time. */
  request(method: string, path: string, options?: RequestInit): Promise<ApiResponse>;
  /** A success with the response's body, or the given result; a first argument that is no response is the result. */
  apiSuccess(response: ApiResponse | JsonObject, result?: JsonObject, includeResponse?: boolean): StepHandlerResult;
  /** A failure that may be tried again for 408, 429 and 5xx. */
  apiFailure(response: ApiResponse, message?: string): StepHandlerResult;
  /** A retryable failure for a request that got no response. */
  connectionError(error: unknown, context?: string): StepHandlerResult;
  /** A retryable failure for a request that got none in time. */
  timeoutError(error: unknown, context?: string): StepHandlerResult;
}

/** Where requests go, and with what. */
interface ApiSettings {
  baseUrl?: string;
  /** Milliseconds. */
  defaultTimeout?: number;
  defaultHeaders?: Record<string, string>;
}

const DEFAULT_TIMEOUT_MS = 30_000;

/** HTTP methods with their errors classified; reads `baseUrl`, `defaultTimeout` and `defaultHeaders` of its class. */
export class APIMixin implements APICapable {
  private readonly readSettings: () => ApiSettings;

  constructor(readSettings?: () => ApiSettings) {
    this.readSettings = readSettings ?? (() => this.constructor as ApiSettings);
  }

  /** Put before every path. */
  get baseUrl(): string {
    return this.readSettings().baseUrl ?? '';
  }

  /** Milliseconds until a request is given up. */
  get timeout(): number {
    return this.readSettings().defaultTimeout ?? DEFAULT_TIMEOUT_MS;
  }

  /** Sent with every request. */
  get defaultHeaders(): Record<string, string> {
    return this.readSettings().defaultHeaders ?? {};
  }

  get(path: string, params?: QueryParams | RequestOptions, headers?: Record<string, string>): Promise<ApiResponse> {
    const options = params !== undefined && isRequestOptions(params) ? params : { params: params ?? {} };
    return this.request('GET', withQuery(path, options.params ?? {}), {
      headers: { ...(options as RequestOptions).headers, ...headers },
    });
  }

  post(path: string, options: RequestBody = {}): Promise<ApiResponse> {
    return this.request('POST', path, requestInit(options));
  }

  put(path: string, options: RequestBody = {}): Promise<ApiResponse> {
    return this.request('PUT', path, requestInit(options));
  }

  patch(path: string, options: RequestBody = {}): Promise<ApiResponse> {
    return this.request('PATCH', path, requestInit(options));
  }

  delete(path: string, headers: Record<string, string> = {}): Promise<ApiResponse> {
    return this.request('DELETE', path, { headers });
  }

  async request(method: string, path: string, options: RequestInit = {}): Promise<ApiResponse> {
    const headers = new Headers(this.defaultHeaders);
    new Headers(options.headers).forEach((value, name) => headers.set(name, value));
    const signal = options.signal ?? AbortSignal.timeout(this.timeout);
    return ApiResponse.read(await fetch(this.baseUrl + path, { ...options, method, headers, signal }));
  }

  apiSuccess(response: ApiResponse | JsonObject, result?: JsonObject, includeResponse = true): StepHandlerResult {
    if (!(response instanceof ApiResponse)) return StepHandlerResult.success(response);
    const body = isObject(response.body) ? response.body : { data: response.body };
    const metadata = includeResponse ? { status_code: response.statusCode, headers: response.headers } : {};
    return StepHandlerResult.success(result ?? body, metadata);
  }

  apiFailure(response: ApiResponse, message?: string): StepHandlerResult {
    const retryAfter = response.retryAfter;
    return new StepHandlerResult({
      success: false,
      errorMessage: message ?? `HTTP ${response.statusCode}: ${errorDetailOf(response)}`,
      errorType: errorTypeOf(response),
      retryable: response.isRetryable,
      metadata: {
        status_code: response.statusCode,
        headers: response.headers,
        ...(retryAfter === null ? {} : { retry_after_seconds: retryAfter }),
        ...(response.body ? { response_body: response.body } : {}),
      },
      orchestrationMetadata:
        retryAfter === null ? null : { headers: { 'retry-after': response.headers['retry-after'] ?? '' } },
    });
  }

  connectionError(error: unknown, context?: string): StepHandlerResult {
    return requestFailure('Connection error', 'connection_error', error, context);
  }

  timeoutError(error: unknown, context?: string): StepHandlerResult {
    return requestFailure('Request timeout', ErrorType.TIMEOUT, error, context);
  }
}

const API_METHODS = [
  'get',
  'post',
  'put',
  'patch',
  'delete',
  'request',
  'apiSuccess',
  'apiFailure',
  'connectionError',
  'timeoutError',
] as const satisfies readonly (keyof APICapable)[];

/** Gives an object the methods of {@link APICapable}; they read the static settings of its class when they are called. */
export function applyAPI<T extends object>(target: T): T & APICapable {
  const api = new APIMixin(() => settingsOf(target));
  const methods = Object.fromEntries(API_METHODS.map((name) => [name, api[name].bind(api)]));
  return Object.assign(target, methods) as T & APICapable;
}

/** The settings of a handler: a field of the instance comes before the static of its class. */
function settingsOf(handler: object): Required<ApiSettings> {
  const own = handler as ApiSettings;
  const statics = handler.constructor as ApiSettings;
  return {
    baseUrl: own.baseUrl ?? statics.baseUrl ?? '',
    defaultTimeout: own.defaultTimeout ?? statics.defaultTimeout ?? DEFAULT_TIMEOUT_MS,
    defaultHeaders: own.defaultHeaders ?? statics.defaultHeaders ?? {},
  };
}

/** The base of handlers that call an HTTP API. */
export abstract class ApiHandler extends StepHandler {
  /** Put before every path, without a slash in between. */
  static baseUrl = '';
  /** Milliseconds until a request is given up. */
  static defaultTimeout = DEFAULT_TIMEOUT_MS;
  static defaultHeaders: Record<string, string> = {};

  private readonly api: APICapable = new APIMixin(() => settingsOf(this));

  override get capabilities(): string[] {
    return ['process', 'http', 'api'];
  }

  /** See {@link APICapable.get}. */
  protected get(
    path: string,
    params?: QueryParams | RequestOptions,
    headers?: Record<string, string>,
  ): Promise<ApiResponse> {
    return this.api.get(path, params, headers);
  }

  /** See {@link APICapable.post}. */
  protected post(path: string, options?: RequestBody): Promise<ApiResponse> {
    return this.api.post(path, options);
  }

  /** See {@link APICapable.put}. */
  protected put(path: string, options?: RequestBody): Promise<ApiResponse> {
    return this.api.put(path, options);
  }

  /** See {@link APICapable.patch}. */
  protected patch(path: string, options?: RequestBody): Promise<ApiResponse> {
    return this.api.patch(path, options);
  }

  /** See {@link APICapable.delete}. */
  protected delete(path: string, headers?: Record<string, string>): Promise<ApiResponse> {
    return this.api.delete(path, headers);
  }

  /** See {@link APICapable.request}. */
  protected request(method: string, path: string, options?: RequestInit): Promise<ApiResponse> {
    return this.api.request(method, path, options);
  }

  /** See {@link APICapable.apiSuccess}. */
  protected apiSuccess(
    response: ApiResponse | JsonObject,
    result?: JsonObject,
    includeResponse?: boolean,
  ): StepHandlerResult {
    return this.api.apiSuccess(response, result, includeResponse);
  }

  /** See {@link APICapable.apiFailure}. */
  protected apiFailure(response: ApiResponse, message?: string): StepHandlerResult {
    return this.api.apiFailure(response, message);
  }

  /** See {@link APICapable.connectionError}. */
  protected connectionError(error: unknown, context?: string): StepHandlerResult {
    return this.api.connectionError(error, context);
  }

  /** See {@link APICapable.timeoutError}. */
  protected timeoutError(error: unknown, context?: string): StepHandlerResult {
    return this.api.timeoutError(error, context);
  }
}

function isRequestOptions(value: QueryParams | RequestOptions): value is RequestOptions {
  const keys = Object.keys(value);
  return (
    keys.length > 0 &&
    keys.every((key) => key === 'params' || key === 'headers') &&
    Object.values(value).every(isObject)
  );
}

function withQuery(path: string, params: QueryParams): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined) query.append(name, String(value));
  }
  const text = query.toString();
  return text === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${text}`;
}

function requestInit({ body, json = true, headers = {} }: RequestBody): RequestInit {
  if (!body) return { headers };
  if (!json) return { headers, body: body as NonNullable<RequestInit['body']> };
  const typed = new Headers(headers);
  if (!typed.has('content-type')) typed.set('content-type', 'application/json');
  return { headers: typed, body: JSON.stringify(body) };
}

function requestFailure(what: string, errorType: string, error: unknown, context?: string): StepHandlerResult {
  const reason = error instanceof Error ? error.message : String(error);
  const message = `${what}${context ? ` while ${context}` : ''}: ${reason}`;
  const exceptionType = error instanceof Error ? error.name : typeof error;
  return StepHandlerResult.failure(message, errorType, true, { exception_type: exceptionType });
}
