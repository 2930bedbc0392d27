/** How a worker is set up: what it is given, else the environment, else the defaults. */

import { requestHeaders, serverUrl } from '../client/credentials.js';
import type { EventPollerConfig } from '../events/event-poller.js';
import { WorkerSetupError } from './errors.js';

/** How a worker is to run. Everything is optional. */
export interface WorkerServerConfig {
  /** Namespaces to take steps from besides those of the templates, comma-separated; `TASKER_NAMESPACE`. */
  readonly namespace?: string | undefined;
  /** Least weighty lines to log; `RUST_LOG`, else `info`. */
  readonly logLevel?: string | undefined;
  /** Has no effect: a worker has no configuration file. */
  readonly configPath?: string | undefined;
  /** Has no effect: a worker needs no database. */
  readonly databaseUrl?: string | undefined;
  /** Has no effect: there is no native library. */
  readonly libraryPath?: string | undefined;
  /** Handlers that run at once; `TASKER_MAX_CONCURRENT`, else 10. */
  readonly maxConcurrentHandlers?: number | undefined;
  /** Milliseconds that a handler may run if its step has no `timeout_seconds`; 300,000 by default. */
  readonly handlerTimeoutMs?: number | undefined;
  /** Milliseconds to pause after a call that brought no steps; 10 by default. */
  readonly pollIntervalMs?: number | undefined;
  /** Calls without steps, one after the other, until `poller.starvation.detected` is told; 100 by default. */
  readonly starvationCheckInterval?: number | undefined;
  /** Has no effect: nothing needs to be cleaned up. */
  readonly cleanupInterval?: number | undefined;
  /** Calls for steps between two `metrics.updated`; 100 by default. */
  readonly metricsInterval?: number | undefined;
  /** Base URL of the server; `TASKER_ORCHESTRATION_URL`, else `http://localhost:8080`. */
  readonly engineUrl?: string | undefined;
  /** API key; `TASKER_API_KEY`. */
  readonly apiKey?: string | undefined;
  /** Bearer token; `TASKER_ORCHESTRATION_AUTH_TOKEN`, else `TASKER_AUTH_TOKEN`. */
  readonly authToken?: string | undefined;
  /** The worker's name in the history; `TASKER_WORKER_ID`, else `TASKER_INSTANCE_ID`, else `typescript-worker-PID`. */
  readonly workerId?: string | undefined;
  /** Milliseconds that a call for steps waits on the server; 20,000 by default. */
  readonly leaseWaitMs?: number | undefined;
  /** Milliseconds between heartbeats; as the server says by default, which is also the longest. */
  readonly heartbeatIntervalMs?: number | undefined;
  /** File or directory of templates; `TASKER_TEMPLATE_PATH`, else `config/tasks` if that exists. */
  readonly templatePath?: string | undefined;
  /** Milliseconds that running handlers have once the worker stops; `TASKER_SHUTDOWN_TIMEOUT` seconds, else 30,000. */
  readonly shutdownTimeoutMs?: number | undefined;
  /** Milliseconds that the start waits for a server that is not there yet; `TASKER_WAIT_FOR` seconds, else 60,000. */
  readonly waitForMs?: number | undefined;
  /** Address of the health checks, such as `127.0.0.1:8081`; `TASKER_WORKER_HEALTH_BIND`, else none. */
  readonly healthBind?: string | undefined;
  /** Whether a start without any handler fails, instead of waiting for some to be registered; false by default. */
  readonly requireHandlers?: boolean | undefined;
}

/** How a worker runs. */
export interface WorkerSettings {
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly name: string;
  /** Namespaces to serve besides those of the templates. */
  readonly namespaces: readonly string[];
  readonly concurrency: number;
  readonly handlerTimeoutMs: number;
  readonly poller: EventPollerConfig;
  readonly leaseWaitMs: number;
  readonly heartbeatMs: number | null;
  readonly templatePath: string | null;
  readonly shutdownTimeoutMs: number;
  readonly waitForMs: number;
  readonly healthBind: Address | null;
  readonly requireHandlers: boolean;
}

/** Where something listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

type Environment = Record<string, string | undefined>;

/**
 * Return the settings of a worker.
 *
 * @throws WorkerSetupError if one makes no sense.
 */
export function readSettings(config: WorkerServerConfig, environment: Environment = process.env): WorkerSettings {
  const address = { baseUrl: config.engineUrl, apiKey: config.apiKey, token: config.authToken };
  const bind = config.healthBind || environment['TASKER_WORKER_HEALTH_BIND'];
  return {
    url: asUrl(serverUrl(address, environment)),
    headers: requestHeaders(address, environment),
    name:
      config.workerId ||
      environment['TASKER_WORKER_ID'] ||
      environment['TASKER_INSTANCE_ID'] ||
      `typescript-worker-${process.pid}`,
    namespaces: asNames(config.namespace ?? environment['TASKER_NAMESPACE'] ?? ''),
    concurrency: asNumber(
      'the number of handlers at once',
      config.maxConcurrentHandlers ?? environment['TASKER_MAX_CONCURRENT'] ?? 10,
      { least: 1, most: 10_000, whole: true },
    ),
    handlerTimeoutMs: asNumber('handlerTimeoutMs', config.handlerTimeoutMs ?? 300_000, { least: 1 }),
    poller: {
      pollIntervalMs: asNumber('pollIntervalMs', config.pollIntervalMs ?? 10, { least: 0 }),
      starvationCheckInterval: config.starvationCheckInterval,
      metricsInterval: config.metricsInterval,
    },
    leaseWaitMs: asNumber('leaseWaitMs', config.leaseWaitMs ?? 20_000, { least: 0 }),
    heartbeatMs:
      config.heartbeatIntervalMs === undefined
        ? null
        : asNumber('heartbeatIntervalMs', config.heartbeatIntervalMs, { least: 10 }),
    templatePath: config.templatePath || environment['TASKER_TEMPLATE_PATH'] || null,
    shutdownTimeoutMs:
      config.shutdownTimeoutMs === undefined
        ? 1000 * asNumber('the shutdown timeout', environment['TASKER_SHUTDOWN_TIMEOUT'] || 30, { least: 0 })
        : asNumber('shutdownTimeoutMs', config.shutdownTimeoutMs, { least: 0 }),
    waitForMs:
      config.waitForMs === undefined
        ? 1000 * asNumber('the time to wait for the server', environment['TASKER_WAIT_FOR'] || 60, { least: 0 })
        : asNumber('waitForMs', config.waitForMs, { least: 0 }),
    healthBind: bind ? asAddress(bind) : null,
    requireHandlers: config.requireHandlers ?? false,
  };
}

/**
 * Return the number that a text is.
 *
 * @param what names it in the error.
 * @throws WorkerSetupError if it is none, or not within the limits.
 */
export function asNumber(
  what: string,
  value: string | number,
  limits: { least: number; most?: number; whole?: boolean },
): number {
  const number = typeof value === 'string' && value.trim() === '' ? NaN : Number(value);
  const { least, most = Number.MAX_SAFE_INTEGER, whole = false } = limits;
  if (!Number.isFinite(number) || number < least || number > most || (whole && !Number.isInteger(number))) {
    const kind = whole ? 'a whole number' : 'a number';
    const range = limits.most === undefined ? `from ${least}` : `from ${least} to ${most}`;
    throw new WorkerSetupError(`${what} must be ${kind} ${range}, not ${JSON.stringify(value)}`);
  }
  return number;
}

/**
 * Return the address that a text such as `127.0.0.1:8081` names.
 *
 * @throws WorkerSetupError if it names none.
 */
export function asAddress(text: string): Address {
  const found = /^(?<host>\[[^\]]+\]|[^:\s]*):(?<port>\d{1,5})$/.exec(text.trim())?.groups;
  const port = Number(found?.['port']);
  if (found === undefined || port > 65_535) {
    throw new WorkerSetupError(`${JSON.stringify(text)} is no address such as 127.0.0.1:8081`);
  }
  return { host: (found['host'] || '127.0.0.1').replace(/^\[|\]$/g, ''), port };
}

function asUrl(text: string): string {
  let url: URL | null = null;
  try {
    url = new URL(text);
  } catch {
    // Said below.
  }
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new WorkerSetupError(`${JSON.stringify(text)} is no URL that begins with http:// or https://`);
  }
  return text;
}

function asNames(text: string): string[] {
  return text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}
