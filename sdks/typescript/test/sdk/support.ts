/** Shared by the tests: a server, and a lease of the worker protocol. */

import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JsonObject, LeaseItem, WireCheckpointYield, WireCompletion, WireResult } from '@tasker-systems/tasker';
import type { WireDependencyResult } from '../../src/wire.js';

/** Calls `use` with the address of an HTTP server that answers every request with `answer`. */
export async function withServer<T>(answer: RequestListener, use: (url: string) => Promise<T>): Promise<T> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** The address of a server that has been closed. */
export function unusedUrl(): Promise<string> {
  return withServer(
    () => {},
    (url) => Promise.resolve(url),
  );
}

/** What a test says of a lease. */
export interface LeaseOptions {
  callable: string;
  input?: JsonObject;
  dependencies?: Record<string, unknown>;
  events?: { name: string; condition?: string; publisher?: string }[];
}

/** A lease as a server sends it. */
export function makeLease({ callable, input = {}, dependencies = {}, events = [] }: LeaseOptions): LeaseItem {
  const results = Object.entries(dependencies).map(([name, result]) => [name, { success: true, result }]);
  return {
    event_id: 'event',
    task_uuid: 'task',
    step_uuid: 'step',
    lease_id: 17,
    attempt: 1,
    correlation_id: 'correlation',
    task_sequence_step: {
      task: {
        task: { task_uuid: 'task', context: input, correlation_id: 'correlation' },
        task_name: 'order',
        task_version: '2.0.0',
        namespace_name: 'shop',
      },
      workflow_step: { workflow_step_uuid: 'step', name: 'charge', template_step_name: 'charge', attempts: 0 },
      dependency_results: Object.fromEntries(results) as Record<string, WireDependencyResult>,
      step_definition: { name: 'charge', handler: { callable }, publishes_events: events },
    },
  };
}

/** The result as the end of an attempt. */
export function completionOf(result: WireResult): WireCompletion {
  if (result.checkpoint !== undefined) throw new Error('this is a checkpoint');
  return result;
}

/** The result as a checkpoint. */
export function checkpointOf(result: WireResult): WireCheckpointYield['checkpoint'] {
  if (result.checkpoint === undefined) throw new Error('this is no checkpoint');
  return result.checkpoint;
}
