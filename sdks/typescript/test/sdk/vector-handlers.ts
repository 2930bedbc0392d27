/** The handlers of the conformance vectors; sdks/conformance/README.md says what each does. */

import {
  BatchableStepHandler,
  Decision,
  DecisionHandler,
  defineBatchAnalyzer,
  defineDecisionHandler,
  defineHandler,
  HandlerRegistry,
  PermanentError,
  RetryableError,
  type StepContext,
  StepHandler,
  StepHandlerResult,
} from '@tasker-systems/tasker';
import { ProcessOrderHandler } from '../seed/process_order_handler.js';

type Config = Record<string, never>;

function configOf(context: StepContext): Config {
  return context.stepConfig as Config;
}

class Echo extends StepHandler {
  static override handlerName = 'echo';

  async call(context: StepContext): Promise<StepHandlerResult> {
    return this.success(context.inputData);
  }
}

class Passthrough extends StepHandler {
  static override handlerName = 'passthrough';

  async call(context: StepContext): Promise<StepHandlerResult> {
    const { success, result, message, error_type, retryable, metadata, error_code } = configOf(context);
    if (success) return this.success(result ?? {}, metadata);
    return this.failure(message ?? '', error_type, retryable, metadata, error_code);
  }
}

class ThrowPermanent extends StepHandler {
  static override handlerName = 'throw_permanent';

  async call(): Promise<StepHandlerResult> {
    throw new PermanentError('no', { k: 1 });
  }
}

class ThrowRetryable extends StepHandler {
  static override handlerName = 'throw_retryable';

  async call(): Promise<StepHandlerResult> {
    throw new RetryableError('later');
  }
}

class ThrowGeneric extends StepHandler {
  static override handlerName = 'throw_generic';

  async call(context: StepContext): Promise<StepHandlerResult> {
    const { message = 'boom', repeat = 1 } = context.stepConfig as { message?: string; repeat?: number };
    throw new Error(message.repeat(repeat));
  }
}

class MultiMethod extends StepHandler {
  static override handlerName = 'multi_method';

  async call(): Promise<StepHandlerResult> {
    return this.success({ method: 'call' });
  }

  async refund(): Promise<StepHandlerResult> {
    return this.success({ method: 'refund' });
  }
}

class BadJson extends StepHandler {
  static override handlerName = 'bad_json';

  async call(): Promise<StepHandlerResult> {
    return this.success({ amount: 10n });
  }
}

class DecisionFixture extends DecisionHandler {
  static override handlerName = 'decision';

  async call(context: StepContext): Promise<StepHandlerResult> {
    const { steps, routing_context, skip, fail } = configOf(context);
    if (fail) return this.decisionFailure(fail);
    return skip ? this.skipBranches(skip) : this.decisionSuccess(steps ?? [], routing_context);
  }
}

class Analyzer extends BatchableStepHandler {
  static override handlerName = 'analyzer';

  async call(context: StepContext): Promise<StepHandlerResult> {
    const { total, batch_size } = context.stepConfig as { total: number; batch_size: number };
    return this.batchAnalyzerSuccess(this.createBatchOutcome(total, batch_size), {}, 'w');
  }
}

class BatchWorker extends BatchableStepHandler {
  static override handlerName = 'batch_worker';

  async call(context: StepContext): Promise<StepHandlerResult> {
    const { processed, succeeded, failed, skipped } = context.stepConfig as Record<string, number>;
    return this.batchWorkerSuccess(this.createWorkerOutcome(processed ?? 0, succeeded, failed, skipped));
  }
}

class NoOp extends BatchableStepHandler {
  static override handlerName = 'no_op';

  async call(context: StepContext): Promise<StepHandlerResult> {
    return this.handleNoOpWorker(context) ?? this.success({ no_op: false });
  }
}

class Checkpoint extends BatchableStepHandler {
  static override handlerName = 'checkpoint';

  async call(context: StepContext): Promise<StepHandlerResult> {
    const { cursor, items_processed, accumulated } = context.stepConfig as Record<string, unknown>;
    return this.checkpointYield(cursor, items_processed as number, accumulated);
  }
}

/** A registry with all fixture handlers, each under its name. */
export function fixtureRegistry(): HandlerRegistry {
  const registry = new HandlerRegistry();
  const classes = [
    ...[Echo, Passthrough, ThrowPermanent, ThrowRetryable, ThrowGeneric, MultiMethod, BadJson],
    ...[DecisionFixture, Analyzer, BatchWorker, NoOp, Checkpoint],
  ];
  for (const each of classes) registry.register(each.handlerName, each);
  registry.register('seed_process_order', ProcessOrderHandler);
  // The functional ones need no registration.
  defineHandler('dsl_returns', {}, ({ context }) => configOf(context)['value']);
  defineHandler('dsl_returns_result', {}, () => StepHandlerResult.success({ made: 'by hand' }, { m: 1 }));
  defineHandler('dsl_throw_permanent', {}, () => {
    throw new PermanentError('no', { k: 1 });
  });
  defineHandler('dsl_throw_retryable', {}, () => {
    throw new RetryableError('later');
  });
  defineHandler('dsl_throw_generic', {}, async () => {
    throw new Error('boom');
  });
  const inject = {
    depends: { cart: 'validate', gone: 'absent' },
    inputs: { order_id: 'order_id', missing: 'missing' },
  };
  defineHandler('dsl_inject', inject, ({ cart, gone, order_id, missing }) => ({ cart, gone, order_id, missing }));
  defineDecisionHandler('dsl_decision', {}, ({ context }) => {
    const { steps, routing_context, skip } = configOf(context);
    return skip ? Decision.skip(skip) : Decision.route(steps ?? [], routing_context);
  });
  defineBatchAnalyzer('dsl_analyzer', { workerTemplate: 'w' }, ({ context }) => {
    const { total, batch_size } = context.stepConfig;
    return { totalItems: total, batchSize: batch_size };
  });
  return registry;
}
