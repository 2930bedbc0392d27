/** The worker's own health checks, over HTTP. */

import * as http from 'node:http';
import type { AddressInfo } from 'node:net';

import type { Address } from './settings.js';

/** How a worker is, as its health checks tell it. */
export interface HealthReport {
  readonly status: 'healthy' | 'unhealthy';
  /** Why it takes no steps; null if it does. */
  readonly reason: string | null;
  readonly worker_id: string;
  readonly running: boolean;
  /** Attempts whose end is recorded. */
  readonly processed: number;
  readonly failed: number;
  /** Handlers that are running. */
  readonly active: number;
  readonly uptime_seconds: number;
  readonly server: { readonly url: string; readonly connected: boolean };
  /** What it has handlers for. */
  readonly handlers: readonly string[];
}

/** Answers health checks until it is closed. */
export class HealthServer {
  readonly #server: http.Server;

  /** @param report says how the worker is. */
  constructor(report: () => HealthReport) {
    this.#server = http.createServer((request, response) => answer(request, response, report));
    this.#server.unref();
  }

  /**
   * Listen.
   *
   * @returns the port, which the system chooses if that of the address is 0.
   * @throws Error if the address is taken, or none of this machine.
   */
  async listen(address: Address): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(address.port, address.host, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    return (this.#server.address() as AddressInfo).port;
  }

  /** Listen no more. */
  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function answer(request: http.IncomingMessage, response: http.ServerResponse, report: () => HealthReport): void {
  const path = (request.url ?? '').split('?')[0];
  const found = report();
  switch (path) {
    case '/health':
    case '/health/live':
      return send(response, 200, { status: 'healthy' });
    case '/health/ready':
      return send(response, found.reason === null ? 200 : 503, { status: found.status, reason: found.reason });
    case '/health/detailed':
      return send(response, 200, found);
    case '/metrics':
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
      response.end(metricsText(found));
      return;
    default:
      return send(response, 404, { error: { code: 'NOT_FOUND', message: 'There is no such check' } });
  }
}

function send(response: http.ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function metricsText(report: HealthReport): string {
  return [
    '# HELP tasker_worker_steps_total Attempts whose end is recorded.',
    '# TYPE tasker_worker_steps_total counter',
    `tasker_worker_steps_total{outcome="succeeded"} ${report.processed - report.failed}`,
    `tasker_worker_steps_total{outcome="failed"} ${report.failed}`,
    '# HELP tasker_worker_running_handlers Handlers that are running.',
    '# TYPE tasker_worker_running_handlers gauge',
    `tasker_worker_running_handlers ${report.active}`,
    '# HELP tasker_worker_connected Whether the server answered the last time that it was asked.',
    '# TYPE tasker_worker_connected gauge',
    `tasker_worker_connected ${report.server.connected ? 1 : 0}`,
    '',
  ].join('\n');
}
