import { StepHandlerResult } from '../types/step-handler-result.js';
import type { JsonObject } from '../wire.js';
import { StepHandler } from './step-handler.js';

/** What a decision step decides. */
export enum DecisionType {
  /** Go on with the named steps. */
  CREATE_STEPS = 'create_steps',
  /** Go on with none. */
  NO_BRANCHES = 'no_branches',
}

/** The outcome of a decision step. */
export interface DecisionPointOutcome {
  decisionType: DecisionType;
  nextStepNames: string[];
  dynamicSteps?: JsonObject[];
  reason?: string;
  routingContext: JsonObject;
}

/** The methods of decision handlers. */
export interface DecisionCapable {
  /** A success that goes on with the named steps; `routingContext` becomes part of the result. */
  decisionSuccess(steps: string[], routingContext?: JsonObject, metadata?: JsonObject): StepHandlerResult;
  /** The same for an outcome of your own. */
  decisionSuccessWithOutcome(outcome: DecisionPointOutcome, metadata?: JsonObject): StepHandlerResult;
  /** A success that goes on with no step, for an outcome or a reason. */
  decisionNoBranches(outcome: DecisionPointOutcome | string, metadata?: JsonObject): StepHandlerResult;
  /** The same for a reason. */
  skipBranches(reason: string, routingContext?: JsonObject, metadata?: JsonObject): StepHandlerResult;
  /** A failure to decide: `decision_error` and not retryable unless said otherwise. */
  decisionFailure(message: string, errorType?: string, retryable?: boolean, metadata?: JsonObject): StepHandlerResult;
}

/** Who decides. */
interface Decider {
  name?: string;
  version?: string;
}

/** The methods of decision handlers, for any class. */
export class DecisionMixin implements DecisionCapable {
  private readonly decider: Decider;

  /** @param decider - whose name and version go into the metadata; the mixin itself by default. */
  constructor(decider?: object) {
    this.decider = decider ?? this;
  }

  decisionSuccess(steps: string[], routingContext: JsonObject = {}, metadata: JsonObject = {}): StepHandlerResult {
    const outcome = { decisionType: DecisionType.CREATE_STEPS, nextStepNames: steps, routingContext };
    return this.decisionSuccessWithOutcome(outcome, metadata);
  }

  decisionSuccessWithOutcome(outcome: DecisionPointOutcome, metadata: JsonObject = {}): StepHandlerResult {
    const decided = {
      type: outcome.decisionType,
      step_names: outcome.nextStepNames,
      ...(outcome.dynamicSteps ? { dynamic_steps: outcome.dynamicSteps } : {}),
    };
    return this.decided({ decision_point_outcome: decided, ...routing(outcome.routingContext) }, metadata);
  }

  decisionNoBranches(outcome: DecisionPointOutcome | string, metadata: JsonObject = {}): StepHandlerResult {
    const { reason, routingContext = {} } = typeof outcome === 'string' ? { reason: outcome } : outcome;
    const result = {
      decision_point_outcome: { type: DecisionType.NO_BRANCHES },
      ...(reason ? { reason } : {}),
      ...routing(routingContext),
    };
    return this.decided(result, metadata);
  }

  skipBranches(reason: string, routingContext: JsonObject = {}, metadata: JsonObject = {}): StepHandlerResult {
    const outcome = { decisionType: DecisionType.NO_BRANCHES, nextStepNames: [], reason, routingContext };
    return this.decisionNoBranches(outcome, metadata);
  }

  decisionFailure(
    message: string,
    errorType = 'decision_error',
    retryable = false,
    metadata: JsonObject = {},
  ): StepHandlerResult {
    return StepHandlerResult.failure(message, errorType, retryable, { ...this.marks(), ...metadata });
  }

  private decided(result: JsonObject, metadata: JsonObject): StepHandlerResult {
    return StepHandlerResult.success(result, { ...this.marks(), ...metadata });
  }

  private marks(): JsonObject {
    const { name, version } = this.decider;
    return { decision_handler: name ?? this.decider.constructor.name, decision_version: version ?? '1.0.0' };
  }
}

function routing(context: JsonObject): JsonObject {
  return Object.keys(context).length > 0 ? { routing_context: context } : {};
}

const DECISION_METHODS = [
  'decisionSuccess',
  'decisionSuccessWithOutcome',
  'decisionNoBranches',
  'skipBranches',
  'decisionFailure',
] as const satisfies readonly (keyof DecisionCapable)[];

/** Gives an object the methods of {@link DecisionCapable}. */
export function applyDecision<T extends object>(target: T): T & DecisionCapable {
  const mixin = new DecisionMixin(target);
  const methods = Object.fromEntries(DECISION_METHODS.map((name) => [name, mixin[name].bind(mixin)]));
  return Object.assign(target, methods) as T & DecisionCapable;
}

/** The base of decision handlers. */
export abstract class DecisionHandler extends StepHandler {
  private readonly decision: DecisionCapable = new DecisionMixin(this);

  override get capabilities(): string[] {
    return ['process', 'decision', 'routing'];
  }

  /** See {@link DecisionCapable.decisionSuccess}. */
  protected decisionSuccess(steps: string[], routingContext?: JsonObject, metadata?: JsonObject): StepHandlerResult {
    return this.decision.decisionSuccess(steps, routingContext, metadata);
  }

  /** See {@link DecisionCapable.decisionSuccessWithOutcome}. */
  protected decisionSuccessWithOutcome(outcome: DecisionPointOutcome, metadata?: JsonObject): StepHandlerResult {
    return this.decision.decisionSuccessWithOutcome(outcome, metadata);
  }

  /** See {@link DecisionCapable.decisionNoBranches}. */
  protected decisionNoBranches(outcome: DecisionPointOutcome | string, metadata?: JsonObject): StepHandlerResult {
    return this.decision.decisionNoBranches(outcome, metadata);
  }

  /** See {@link DecisionCapable.skipBranches}. */
  protected skipBranches(reason: string, routingContext?: JsonObject, metadata?: JsonObject): StepHandlerResult {
    return this.decision.skipBranches(reason, routingContext, metadata);
  }

  /** See {@link DecisionCapable.decisionFailure}. */
  protected decisionFailure(
    message: string,
    errorType?: string,
    retryable?: boolean,
    metadata?: JsonObject,
  ): StepHandlerResult {
    return this.decision.decisionFailure(message, errorType, retryable, metadata);
  }
}
