import type { FfiStepEvent } from '../types/step-event.js';
import { isObject } from '../types/values.js';
import type { JsonObject, LeaseItem, WireHandler } from '../wire.js';

/** What a template says about the handler of a step. */
export interface HandlerDefinition {
  callable: string;
  /** The method to call; null and empty are `call`. */
  method?: string | null;
  /** The only resolver to ask; null and empty are all of them. */
  resolver?: string | null;
  /** The handler's configuration. */
  initialization?: JsonObject | null;
}

/** A handler definition in the form of a step event or of the wire. */
export type HandlerDto =
  | WireHandler
  | Pick<
      FfiStepEvent['stepDefinition'],
      'handlerCallable' | 'handlerMethod' | 'handlerResolver' | 'handlerInitialization'
    >;

/** All ways to say which handler is meant. */
export type HandlerSpec = string | HandlerDefinition | HandlerDto;

/** The definition of a handler without method, resolver or configuration. */
export function fromCallable(callable: string): HandlerDefinition {
  return { callable, method: null, resolver: null, initialization: {} };
}

/** The definition that a step event's or a wire's handler is. */
export function fromDto(dto: HandlerDto): HandlerDefinition {
  const fields = dto as Record<string, unknown>;
  const either = (wire: string, event: string) => fields[wire] ?? fields[event];
  const initialization = either('initialization', 'handlerInitialization');
  return {
    callable: textOrNull(either('callable', 'handlerCallable')) ?? '',
    method: textOrNull(either('method', 'handlerMethod')),
    resolver: textOrNull(either('resolver', 'handlerResolver')),
    initialization: isObject(initialization) ? initialization : {},
  };
}

/** The definition that a spec of any form means. */
export function normalizeToDefinition(spec: HandlerSpec): HandlerDefinition {
  return typeof spec === 'string' ? fromCallable(spec) : fromDto(spec);
}

/** The name of the method to call. */
export function effectiveMethod(definition: HandlerDefinition): string {
  return definition.method || 'call';
}

/** Whether another method than `call` is asked for. */
export function usesMethodDispatch(definition: HandlerDefinition): boolean {
  return effectiveMethod(definition) !== 'call';
}

/** Whether one resolver is named. */
export function hasResolverHint(definition: HandlerDefinition): boolean {
  return Boolean(definition.resolver);
}

/** The handler of a leased step; without a callable it is the one named like the step. */
export function definitionOfLease(lease: LeaseItem): HandlerDefinition {
  const step = lease.task_sequence_step;
  const definition = fromDto(step.step_definition.handler ?? {});
  return { ...definition, callable: definition.callable || step.workflow_step.template_step_name || '' };
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}
