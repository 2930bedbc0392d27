/** Who a program says that it is: the headers that carry credentials, and the server's address. */

import { SDK } from '../worker/version.js';

/** How to reach a server; what is not given comes from the environment. */
export interface ServerOptions {
  /** Base URL; `TASKER_ORCHESTRATION_URL`, else `http://localhost:8080`. */
  readonly baseUrl?: string | undefined;
  /** Bearer token; `TASKER_ORCHESTRATION_AUTH_TOKEN`, else `TASKER_AUTH_TOKEN`. */
  readonly token?: string | undefined;
  /** API key; `TASKER_API_KEY`. */
  readonly apiKey?: string | undefined;
  /** Header that carries the API key; `TASKER_API_KEY_HEADER`, else `X-API-Key`. */
  readonly apiKeyHeader?: string | undefined;
}

type Environment = Record<string, string | undefined>;

/** Return the base URL of the server to talk to. */
export function serverUrl(options: ServerOptions, environment: Environment = process.env): string {
  return options.baseUrl || environment['TASKER_ORCHESTRATION_URL'] || 'http://localhost:8080';
}

/**
 * Return the headers to send with each request.
 *
 * A credential that is given is used alone; of those in the environment a token counts before an API key.
 */
export function requestHeaders(options: ServerOptions, environment: Environment = process.env): Record<string, string> {
  const agent = { 'user-agent': SDK };
  const keyHeader = options.apiKeyHeader || environment['TASKER_API_KEY_HEADER'] || 'X-API-Key';
  if (options.token) {
    return { ...agent, authorization: `Bearer ${options.token}` };
  }
  if (options.apiKey) {
    return { ...agent, [keyHeader]: options.apiKey };
  }
  const token = environment['TASKER_ORCHESTRATION_AUTH_TOKEN'] || environment['TASKER_AUTH_TOKEN'];
  if (token) {
    return { ...agent, authorization: `Bearer ${token}` };
  }
  const key = environment['TASKER_API_KEY'];
  return key ? { ...agent, [keyHeader]: key } : agent;
}
