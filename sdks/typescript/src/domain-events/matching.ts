import type { EventCondition, StepResult } from './types.js';

/** Whether a pattern fits the name of an event; `*` stands for any text, also with dots in it. */
export function matchesPattern(pattern: string, eventName: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's').test(eventName);
}

/** Whether an event with this condition is published for a step that ended so; without a condition it is `success`. */
export function conditionHolds(condition: EventCondition | undefined, result: StepResult): boolean {
  const retryable = result.retryable ?? true;
  switch (condition ?? 'success') {
    case 'always':
      return true;
    case 'success':
      return result.success;
    case 'failure':
      return !result.success;
    case 'retryable_failure':
      return !result.success && retryable;
    case 'permanent_failure':
      return !result.success && !retryable;
    default:
      return false;
  }
}
