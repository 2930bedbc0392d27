/** The operations of the conformance vectors; sdks/conformance/README.md says what each does. */

import type { RequestListener } from 'node:http';
import {
  ApiHandler,
  type ApiResponse,
  aggregateBatchResults,
  BasePublisher,
  type BaseResolver,
  BatchableMixin,
  conditionHolds,
  createBatches,
  detectAggregationScenario,
  type EventCondition,
  HandlerRegistry,
  type LeaseItem,
  matchesPattern,
  PublisherRegistry,
  ResolverChain,
  type RustCursorConfig,
  StepContext,
  StepHandler,
  type StepHandlerResult,
  TaskerClient,
} from '@tasker-systems/tasker';
import { executeLease, handlerTimeout, workerShutdown } from '../../src/execution.js';
import { stepEventFromLease } from '../../src/types/step-event.js';
import { unusedUrl, withServer } from './support.js';
import { fixtureRegistry } from './vector-handlers.js';

const WORKER = 'conformance';
const batchable = new BatchableMixin();
const fixtures = fixtureRegistry();

type Operation = (lease: LeaseItem, ...args: never[]) => unknown;

/** The operations whose results are what is sent to the server. */
export function isWireOperation(name: string): boolean {
  return name === 'execute' || name.startsWith('api_') || name === 'handler_timeout' || name === 'worker_shutdown';
}

export const OPERATIONS: Readonly<Record<string, Operation>> = {
  get_input: (lease, key: string) => contextOf(lease).getInput(key),
  get_input_or: (lease, key: string, otherwise: unknown) => contextOf(lease).getInputOr(key, otherwise),
  input_data: (lease) => contextOf(lease).inputData,
  step_inputs: (lease) => contextOf(lease).stepInputs,
  get_config: (lease, key: string) => contextOf(lease).getConfig(key),
  get_dependency_result: (lease, step: string) => contextOf(lease).getDependencyResult(step),
  get_dependency_field: (lease, step: string, ...path: string[]) => contextOf(lease).getDependencyField(step, ...path),
  get_dependency_result_keys: (lease) => contextOf(lease).getDependencyResultKeys().sort(),
  get_all_dependency_results: (lease, prefix: string) => contextOf(lease).getAllDependencyResults(prefix),
  retry_state: (lease) => {
    const context = contextOf(lease);
    return {
      retry_count: context.retryCount,
      max_retries: context.maxRetries,
      is_retry: context.isRetry(),
      is_last_retry: context.isLastRetry(),
    };
  },
  checkpoint_state: (lease) => {
    const context = contextOf(lease);
    return {
      has_checkpoint: context.hasCheckpoint(),
      cursor: context.checkpointCursor,
      items_processed: context.checkpointItemsProcessed,
      accumulated_results: context.accumulatedResults,
    };
  },
  execute: (lease) => execute(lease, fixtures),
  handler_timeout: (lease, limitMs: number) => handlerTimeout(lease, limitMs, WORKER),
  worker_shutdown: (lease) => workerShutdown(lease, WORKER),
  api_call: (lease, answer: { status: number; headers: Record<string, string>; body: string }) =>
    withServer(
      (_, response) => response.writeHead(answer.status, answer.headers).end(answer.body),
      (url) => executeApi(lease, url),
    ),
  api_connection_error: async (lease) => executeApi(lease, await unusedUrl()),
  api_timeout: (lease) =>
    withServer(
      () => {},
      (url) => executeApi(lease, url, FetchOrderInTime),
    ),
  cursor_ranges: (_, total: number, size: number, most?: number) =>
    batchable.createCursorRanges(total, size, 1, most).map(({ startCursor, endCursor }) => [startCursor, endCursor]),
  cursor_configs: (_, total: number, workers: number) =>
    batchable.createCursorConfigs(total, workers).map((config) => ({
      batch_id: config.batch_id,
      start_cursor: config.cursor_start,
      end_cursor: config.cursor_end,
      batch_size: config.row_count,
    })),
  create_batches: (_, template: string, count: number, configs: RustCursorConfig[], total: number) =>
    createBatches(template, count, configs, total),
  batch_context: (lease) => {
    const context = batchable.getBatchContext(contextOf(lease));
    return {
      batch_id: context?.batchId,
      start_cursor: context?.cursor.startCursor,
      end_cursor: context?.cursor.endCursor,
      batch_size: context?.batchSize,
      checkpoint_cursor: context?.checkpointCursor,
    };
  },
  detect_aggregation_scenario: (lease, analyzer: string, prefix: string) => {
    const scenario = detectAggregationScenario(contextOf(lease).dependencyResults, analyzer, prefix);
    return {
      is_no_batches: scenario.isNoBatches,
      worker_count: scenario.workerCount,
      batchable_result: scenario.batchableResult,
      batch_results: scenario.batchResults,
    };
  },
  aggregate_batch_results: (_, results: (object | null)[], most?: number) => aggregateBatchResults(results, most),
  resolver_order: async (_, resolvers: [string, number][]) => {
    const asked: string[] = [];
    const chain = ResolverChain.withResolvers(
      resolvers.map(([name, priority]) => blindResolver(name, priority, asked)),
    );
    await chain.resolve({ callable: 'x' });
    return asked;
  },
  registered_twice: async (lease) => {
    const registry = new HandlerRegistry();
    registry.register('k', handlerNamed('first'));
    registry.register('k', handlerNamed('second'));
    const result = await (await registry.resolve('k'))?.call(contextOf(lease));
    return result?.result?.['which'];
  },
  unregistered: async () => {
    const registry = new HandlerRegistry();
    registry.register('k', handlerNamed('first'));
    registry.unregister('k');
    return registry.resolve('k');
  },
  event_pattern: (_, pattern: string, eventName: string) => matchesPattern(pattern, eventName),
  event_condition: (_, condition: EventCondition, outcome: string) =>
    conditionHolds(condition, { success: outcome === 'success', retryable: outcome === 'retryable_failure' }),
  publisher_duplicate: () => {
    const registry = new PublisherRegistry();
    registry.register(new NamedPublisher());
    registry.register(new NamedPublisher());
  },
  publisher_after_freeze: () => {
    const registry = new PublisherRegistry();
    registry.freeze();
    registry.register(new NamedPublisher());
  },
  publisher_strict: (_, name: string) => new PublisherRegistry().getStrict(name),
  publisher_or_default: (_, name: string) => new PublisherRegistry().getOrDefault(name).publisherName,
  task_request: async (_, name: string) => {
    let sent = '';
    const record: RequestListener = (request, response) => {
      request.on('data', (part: Buffer) => (sent += part.toString()));
      request.on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'));
    };
    await withServer(record, (url) => new TaskerClient({ baseUrl: url }).createTask({ name }));
    return JSON.parse(sent) as unknown;
  },
};

class NamedPublisher extends BasePublisher {
  readonly publisherName = 'payments';
}

class FetchOrder extends ApiHandler {
  static override handlerName = 'fetch_order';

  async call(context: StepContext): Promise<StepHandlerResult> {
    let response: ApiResponse;
    try {
      response = await this.get(`${String(context.stepConfig['url'])}/order`);
    } catch (error) {
      const isTimeout = error instanceof Error && error.name === 'TimeoutError';
      return isTimeout ? this.timeoutError(error, 'fetching order') : this.connectionError(error, 'fetching order');
    }
    return response.ok ? this.apiSuccess(response) : this.apiFailure(response);
  }
}

class FetchOrderInTime extends FetchOrder {
  static override defaultTimeout = 200;
}

function contextOf(lease: LeaseItem): StepContext {
  return StepContext.fromFfiEvent(stepEventFromLease(lease), 'subject');
}

function execute(lease: LeaseItem, registry: HandlerRegistry): Promise<unknown> {
  const resolve = (definition: Parameters<HandlerRegistry['resolve']>[0]) => registry.resolve(definition);
  return executeLease(lease, { resolve, signal: new AbortController().signal, workerId: WORKER });
}

function executeApi(lease: LeaseItem, url: string, handler = FetchOrder): Promise<unknown> {
  const registry = new HandlerRegistry();
  registry.register('fetch_order', handler);
  lease.task_sequence_step.step_definition.handler = { callable: 'fetch_order', initialization: { url } };
  return execute(lease, registry);
}

function blindResolver(name: string, priority: number, asked: string[]): BaseResolver {
  const resolve = () => {
    asked.push(name);
    return null;
  };
  return { name, priority, canResolve: () => true, resolve };
}

function handlerNamed(which: string) {
  return class extends StepHandler {
    static override handlerName = 'which';

    async call(): Promise<StepHandlerResult> {
      return this.success({ which });
    }
  };
}
